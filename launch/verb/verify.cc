// SPDX-License-Identifier: Apache-2.0
// `tessera verify`: trains the recipe for a few steps in one layout after another on the ranks at
// hand, compares each with the double-precision reference on one rank, and says in a table whether
// all of them computed what docs/numerics.md promises.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>

#include <nlohmann/json.hpp>

#include "kernels/base/log.h"
#include "kernels/cpu_path.h"
#include "launch/job/device_choice.h"
#include "launch/job/in_world.h"
#include "launch/job/local_job.h"
#include "launch/report/format.h"
#include "launch/run/made_with.h"
#include "launch/run/preflight.h"
#include "launch/verb/common_flags.h"
#include "launch/verb/verbs.h"
#include "parallel/transport/gpu_groups.h"
#include "trainer/timeline.h"
#include "trainer/training_plan.h"
#include "trainer/verify/judge.h"

namespace tessera {
namespace {

struct VerifyCommand {
  std::string recipe;
  std::vector<std::string> overrides;
  std::string layouts;          // 'tensor=2; pipeline=2,schedule=zb_h1'; "": a covering array
  std::string devices = "cpu";  // or cpu,cuda: each layout on each of them
  int64_t steps = 3;
  bool json = false;
  std::optional<int> ranks;  // start so many on this machine; absent: the job this process is in
};

constexpr int kDiffers = 6;  // the exit code

const char* word(Verdict::Kind kind) {
  switch (kind) {
    case Verdict::Kind::within_bound: return "within bound";
    case Verdict::Kind::bit_equal: return "bit-equal";
    case Verdict::Kind::differs: return "DIFFERS";
  }
  return "";
}

// One line a layout as it is done; columns as wide as their heading or the widest layout.
class Table {
 public:
  explicit Table(const std::vector<Layout>& layouts) {
    for (const Layout& layout : layouts)
      layout_width_ = std::max(layout_width_, static_cast<int>(layout.to_string().size()));
  }
  void heading() const {
    std::printf("%4s  %-*s  %9s  %8s %8s  %8s  %8s  %8s  %-12s  %s\n", "row", layout_width_,
                "layout", "loss", "gradient", "bound", "norm", "optim", "weights", "verdict",
                "worst gradient, or what differs");
  }
  void row(int number, const Layout& layout, const Captured& run, const Verdict& verdict,
           int twin) const {
    const std::string same = twin > 0 ? " (" + std::to_string(twin) + ")" : "";
    const Errors& errors = verdict.errors;
    std::printf(
        "%4d  %-*s  %9.6f  %8.1e %8.1e  %8.1e  %8.1e  %8.1e  %-12s  %s\n", number, layout_width_,
        layout.to_string().c_str(), run.losses.back(), verdict.worst_error, verdict.worst_bound,
        errors.grad_norm, errors.optimizer, errors.weights,
        (verdict.kind == Verdict::Kind::bit_equal ? "equal" + same : word(verdict.kind)).c_str(),
        (flips(run) + (verdict.reason.empty() ? verdict.worst_gradient : verdict.reason)).c_str());
    std::fflush(stdout);
  }

 private:
  // "3 of 512 choices flip, "
  static std::string flips(const Captured& run) {
    if (run.flips.flipped == 0) return "";
    return std::to_string(run.flips.flipped) + " of " + std::to_string(run.flips.rows) +
           " choices of experts flip (margin " + scientific(run.flips.margin) + "), ";
  }

  int layout_width_ = 6;
};

class Verification {
 public:
  Verification(const VerifyCommand& command, World& world)
      : command_(command),
        world_(world),
        recipe_(load_together(world, command.recipe, command.overrides, 0).recipe),
        threads_(cpu_threads()),
        gpu_groups_(world, recipe_.on_failure.hang_timeout_seconds) {}

  int operator()() {
    in_agreement(world_, "layouts", [&] {
      check(!recipe_.precision.tf32, ErrorKind::usage,
            "verify: its bounds are those of f32, which TF32 does not keep: precision.tf32=false");
      data_ = check_data(recipe_);
      layouts_ = command_.layouts.empty() ? covering_layouts(recipe_, world_.size(), true)
                                          : parse_layouts(command_.layouts, recipe_);
      layouts_ = on_devices(layouts_, command_.devices);
      check(!layouts_.empty(), ErrorKind::usage, "verify: there is no layout to verify");
      for (const Layout& layout : layouts_) check_layout(layout);
    });
    agree_on(world_, recipe_, made_with(recipe_, data_));
    const Table table(layouts_);
    if (speaks()) {
      log::info("verify   " + recipe_.name + ": " + std::to_string(layouts_.size()) +
                " layouts on up to " + std::to_string(world_.size()) + " ranks, " +
                std::to_string(command_.steps) +
                " steps each; errors are relative to double precision on one rank");
      if (!command_.json) table.heading();
    }
    for (const Layout& layout : layouts_) verify(layout, table);
    return conclude();
  }

 private:
  bool speaks() const { return world_.rank() == 0; }

  // Each layout once for each device; those whose text names one stay there.
  static std::vector<Layout> on_devices(const std::vector<Layout>& layouts,
                                        const std::string& devices) {
    std::vector<Layout> all;
    for (const Layout& layout : layouts) {
      const bool named = layout.device != Layout().device;
      for (const std::string device : {"cpu", "cuda"}) {
        if (named || devices.find(device) == std::string::npos) continue;
        all.push_back(layout);
        all.back().device = device;
      }
      if (named) all.push_back(layout);
    }
    return all;
  }

  Device device_of(const Layout& layout) const {
    return resolve_device(layout.device, world_.local_rank());
  }

  Layout one_rank(const std::string& device, ComputeType compute = ComputeType::f32) const {
    Layout layout;
    layout.parallel.data = 1;
    layout.device = device;
    layout.compute = compute;
    return layout;
  }

  void check_layout(const Layout& layout) const {
    check(layout.num_ranks() <= world_.size(), ErrorKind::capacity, "verify:", layout.to_string(),
          "needs", layout.num_ranks(),
          "ranks, this job has " + std::to_string(world_.size()) + ": tessera verify ... -n " +
              std::to_string(layout.num_ranks()));
    for (const RecipeProblem& problem :
         validate(in_layout(recipe_, layout, command_.steps), layout.num_ranks()))
      fail(problem.kind, "verify:", layout.to_string() + ":", problem.key + ": " + problem.message);
    device_of(layout);  // that it can be used
  }

  void verify(const Layout& layout, const Table& table) {
    const Base& base = base_of(layout.compute);
    const Recipe recipe = in_layout(recipe_, layout, command_.steps);
    const Transport transport = layout.transport == "mpi" ? Transport::mpi : Transport::best;
    GridSizes sizes = grid_sizes(recipe.parallel);
    sizes.data = static_cast<int>(recipe.parallel.data);
    Communicators comms(world_, ProcessGrid(sizes),
                        recipe.model.kv_replicas(recipe.parallel.tensor), transport);
    const Device device = device_of(layout);
    const bool own_class = gpu_groups_.fit(comms, device, transport);
    Captured run;
    if (comms.member()) {
      set_cpu_threads(layout.threads > 0 ? layout.threads : threads_);
      run = capture(recipe, device, comms, {.replay = &base.routing});
      set_cpu_threads(threads_);
    }
    if (speaks()) judge_row(layout, own_class, std::move(run), table);
    world_.all().barrier("verify: next layout");
  }

  // What layouts of a compute type are held against: one rank of that type, whose choices of
  // experts all others repeat, the double-precision reference with the same choices, and the bound.
  struct Base {
    RoutingRecord routing;
    Captured reference;
    Bound bound;
  };

  // Collective: rank 0 runs, the others learn the routing.
  const Base& base_of(ComputeType compute) {
    const auto known = bases_.find(name_of(compute));
    if (known != bases_.end()) return known->second;
    Base& base = bases_[name_of(compute)];
    if (speaks()) {
      const Captured run = capture(in_layout(recipe_, one_rank("cpu", compute), command_.steps),
                                   alone_, {.record = &base.routing});
      base.reference = capture(in_layout(recipe_, one_rank("reference"), command_.steps), alone_,
                               {.replay = &base.routing});
      base.bound.one_rank = errors_against(base.reference, run);
      const auto depth = static_cast<double>(Timeline(recipe_).batches().at(0) *
                                             recipe_.data.sequence_length);  // of step 1
      base.bound.slack = kSlack * unit_roundoff(dtype_of(compute)) * std::sqrt(depth);
      base.bound.flip_margin = kFlipRoundoffs * unit_roundoff(dtype_of(compute));
    }
    base.routing =
        routing_record(world_.all().broadcast(speaks() ? to_text(base.routing) : "", 0, "routing"));
    return base;
  }

  // own_class: its sums have NCCL's order, and equal bits are promised to its repetitions only.
  void judge_row(const Layout& layout, bool own_class, Captured run, const Table& table) {
    const Base& base = bases_.at(name_of(layout.compute));
    const int number = static_cast<int>(rows_.size()) + 1;
    const std::string group =
        class_of(layout, recipe_) + (own_class ? ", " + layout.to_string() : "");
    const auto twin = firsts_.find(group);
    const bool has_twin = twin != firsts_.end();
    const Verdict verdict =
        judge(base.reference, run, base.bound, has_twin ? &twin->second.second : nullptr);
    ++counts_[verdict.kind];
    if (!command_.json) table.row(number, layout, run, verdict, has_twin ? twin->second.first : 0);
    rows_.push_back({{"layout", layout.to_string()},
                     {"ranks", layout.num_ranks()},
                     {"loss", run.losses.back()},
                     {"worst_gradient", verdict.worst_gradient},
                     {"gradient_error", verdict.worst_error},
                     {"gradient_bound", verdict.worst_bound},
                     {"loss_error", verdict.errors.loss},
                     {"grad_norm_error", verdict.errors.grad_norm},
                     {"optimizer_error", verdict.errors.optimizer},
                     {"weights_error", verdict.errors.weights},
                     {"flips", run.flips.flipped},
                     {"flip_margin", run.flips.margin},
                     {"verdict", word(verdict.kind)},
                     {"reason", verdict.reason}});
    if (!has_twin) firsts_.emplace(group, std::pair{number, std::move(run)});
  }

  int conclude() {
    const int64_t different =
        world_.all().all_reduce(int64_t{counts_[Verdict::Kind::differs]}, Reduce::max, "verdicts");
    if (speaks() && command_.json)
      std::printf("%s\n", nlohmann::ordered_json{{"reference_loss",
                                                  bases_.begin()->second.reference.losses.back()},
                                                 {"layouts", rows_}}
                              .dump(2)
                              .c_str());
    if (speaks())
      log::info("verify   " + std::to_string(counts_[Verdict::Kind::bit_equal]) +
                " bit-equal to an earlier row, " +
                std::to_string(counts_[Verdict::Kind::within_bound]) + " within the bound, " +
                std::to_string(different) + " differ");
    return different > 0 ? kDiffers : 0;
  }

  const VerifyCommand& command_;
  World& world_;
  Recipe recipe_;
  int threads_;
  GpuGroups gpu_groups_;
  Communicators alone_;
  DataSummary data_;
  std::vector<Layout> layouts_;
  std::map<std::string, Base> bases_;                       // by the name of the compute type
  std::map<std::string, std::pair<int, Captured>> firsts_;  // of each class: row, run
  std::map<Verdict::Kind, int> counts_;
  nlohmann::ordered_json rows_ = nlohmann::ordered_json::array();
};

// The same command as the ranks of a job of its own.
int verify_under_mpirun(const VerifyCommand& command) {
  std::vector<std::string> words = {this_program(), "verify", command.recipe};
  words.insert(words.end(), command.overrides.begin(), command.overrides.end());
  words.insert(words.end(), {"--steps", std::to_string(command.steps)});
  words.insert(words.end(), {"--devices", command.devices});
  if (!command.layouts.empty()) words.insert(words.end(), {"--layouts", command.layouts});
  if (command.json) words.emplace_back("--json");
  const LocalCommand local = local_command(this_machine(), *command.ranks, words);
  log::info("launch   local: " + local.to_string() + "   (" + local.note + ")");
  return run_local(local, OnStop::end);
}

int run_verify(const VerifyCommand& command) {
  if (command.ranks) return verify_under_mpirun(command);
  return run_in_world(0, [&](World& world) { return Verification(command, world)(); });
}

}  // namespace

Verb verify_verb() {
  const auto c = std::make_shared<VerifyCommand>();
  const auto names_layouts = [](const std::string& text) -> std::string {
    return text.empty() ? "names no layout; leave it out for the default" : "";
  };
  return {.name = "verify",
          .help = "train a few steps in many layouts and prove that they compute the same",
          .flags = {recipe_row(c->recipe, "recipe YAML"),
                    overrides_row(c->overrides),
                    {"--layouts", &c->layouts,
                     "'tensor=2; pipeline=2,schedule=zb_h1; data=2,zero=3' (default: layouts for "
                     "the ranks at hand that hold every legal pair of choices)",
                     Accepts{names_layouts}},
                    {"--devices",
                     &c->devices,
                     "each layout on each of them",
                     OneOf{{"cpu", "cuda", "cpu,cuda"}},
                     {.shows_default = true}},
                    {"--steps",
                     &c->steps,
                     "training steps in each layout",
                     Whole{1, INT32_MAX},
                     {.shows_default = true}},
                    json_row(c->json),
                    {"-n,--ranks", &c->ranks, "start so many ranks on this machine",
                     Whole{1, kMostRanks}}},
          .run = [c] { return run_verify(*c); }};
}

}  // namespace tessera
