// SPDX-License-Identifier: Apache-2.0
// `tessera train`: joins the job it was started in, checks everything, then runs the loop.
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <optional>
#include <thread>
#include <utility>

#include "checkpoint/layout.h"
#include "checkpoint/load.h"
#include "checkpoint/reader.h"
#include "checkpoint/retention.h"
#include "kernels/base/log.h"
#include "kernels/cpu_path.h"
#include "kernels/cuda_plugin.h"
#include "kernels/peak.h"
#include "launch/console.h"
#include "launch/device_choice.h"
#include "launch/format.h"
#include "launch/gpu_peak.h"
#include "launch/in_world.h"
#include "launch/made_with.h"
#include "launch/memory_fit.h"
#include "launch/open_checkpoint.h"
#include "launch/preflight.h"
#include "launch/ready_file.h"
#include "launch/room_check.h"
#include "launch/run_directory.h"
#include "launch/run_hold.h"
#include "launch/schedule_lines.h"
#include "launch/signals.h"
#include "launch/verbs.h"
#include "parallel/gpu_groups.h"
#include "parallel/section.h"
#include "trainer/group_rule.h"
#include "trainer/metrics.h"
#include "trainer/model/counts.h"
#include "trainer/planner.h"
#include "trainer/tensorboard.h"
#include "trainer/training_loop.h"
#include "trainer/training_plan.h"

namespace tessera {
namespace {

constexpr int kPreempted = 75;  // EX_TEMPFAIL: a supervisor starts the job again

std::string alone_hint(const World& world, const Recipe& recipe) {
  if (world.launched() || world.size() > 1) return "";
  return "; alone: mpirun -n 2 tessera train " + recipe.name + ".yaml uses two processes";
}

class TrainRun {
 public:
  TrainRun(const TrainCommand& command, World& world)
      : command_(command),
        world_(world),
        loaded_(load_together(world, command.recipe, command.overrides, world.size())),
        recipe_(loaded_.recipe),
        run_(command.run_dir.empty() ? "runs/" + recipe_.name : command.run_dir),
        device_(preflight()),
        gpu_groups_(world, recipe_.on_failure.hang_timeout_seconds),
        comms_(world, grid(), recipe_.model.kv_replicas(recipe_.parallel.tensor)) {
    gpu_groups_.fit(comms_, device_);
  }

  // All that can be refused comes before the run directory is touched: a run that does not begin
  // leaves what was there as it was, and --check leaves nothing.
  int operator()() {
    const FailureOptions& limits = recipe_.on_failure;
    set_section_limits({.start = limits.start_timeout_seconds,
                        .hang = limits.hang_timeout_seconds,
                        .save = limits.save_timeout_seconds});
    resolved_ = resolved_yaml(loaded_, header());
    take_directory(true);
    Trainer trainer(recipe_, device_, comms_);
    const std::string how = restore(trainer);
    take_directory(false);
    if (!command_.check_only) open_files();
    for (const std::string& warning : warnings_) log::warn(warning);
    if (world_.rank() == 0) announce(trainer);
    if (!changed_.empty()) log::info("changed  " + changed_);
    if (command_.check_only) {
      log::info("check    everything is in order; nothing was trained or written");
      return 0;
    }
    settle_line(trainer);
    return train(trainer, how);
  }

 private:
  ProcessGrid grid() const {
    return ProcessGrid::filling(world_.size(), grid_sizes(recipe_.parallel));
  }

  // Everything that can be refused before the run directory is touched.
  Device preflight() {
    Device device;
    in_agreement(world_, "preflight", [&] {
      device = resolve_device(recipe_.run.device, world_.local_rank());
      summary_ = check_data(recipe_);
      if (world_.rank() != 0) return;  // one rank looks, so that all load the same
      check_token_ids(recipe_);
      run_.check_place(recipe_, command_.resume == "none");
      for (const auto& [wish, path] : {std::pair{&command_.resume, &resume_from_},
                                       std::pair{&command_.init_from, &init_from_}}) {
        if (wish->empty() || *wish == "auto" || *wish == "none") continue;
        if (path == &init_from_ && is_hub_model(storage_, *wish)) {
          *path = *wish;
          HubModel::open(storage_, *path).parameters();
          continue;
        }
        *path = resolve_checkpoint(storage_, *wish);
        CheckpointReader::open(storage_, *path);
      }
    });
    made_ = agree_on(world_, recipe_, made_with(recipe_, summary_));
    if (world_.rank() == 0)
      for (const std::string& doubt : summary_.doubts) warnings_.push_back("W064 " + doubt);
    resume_from_ = world_.all().broadcast(resume_from_, 0, "resume from");
    init_from_ = world_.all().broadcast(init_from_, 0, "init from");
    const Device settled = settle_device(world_, recipe_.run.device, device);
    in_agreement(world_, "preflight", [&] { choose_tf32(settled, recipe_.precision.tf32); });
    in_agreement(world_, "memory", [&] { fit_ = check_memory(world_, recipe_, settled); });
    return settled;
  }

  // Rank 0 takes and makes the directories; its failure is everybody's. A check leaves no trace.
  // A checkpoint must not change under the job that resumes it, so a directory that is there is
  // held before that (`early`). A new one, and one whose earlier run is to be renamed, are touched
  // only when nothing can be refused any more. Rank 0 may have to watch the heartbeat of a job on
  // another machine for longer than a collective may take: the limit is that of the start.
  void take_directory(bool early) {
    in_agreement(world_, "run directory", [&] {
      if (world_.rank() != 0 || hold_.holds()) return;
      const std::string root = run_.checkpoints(recipe_);
      const bool resumes = command_.resume == "auto";
      if (command_.check_only) {
        if (resumes) refuse_vanished(storage_, run_, root);
        return;
      }
      const bool there = std::filesystem::exists(run_.path()) || std::filesystem::exists(root);
      if (early && (command_.resume == "none" || !there)) return;
      hold_ = RunHold::take(storage_, run_, root,
                            {.fresh = command_.resume == "none",
                             .expects_own = resumes,
                             .take_over = command_.take_over});
      if (!hold_.moved_to().empty())
        log::info("run      the earlier run is now " + hold_.moved_to());
    });
  }

  void open_files() {
    in_agreement(world_, "run directory", [&] {
      if (world_.rank() == 0) run_.write_resolved(resolved_);
    });
    log::open_file(run_.log(world_.rank()));
    keep_waiting_notes(parent_directory(run_.log(world_.rank())), world_.rank(), world_.size());
  }

  // From here on the directory of checkpoints holds the line that this job goes on with.
  void settle_line(const Trainer& trainer) {
    int64_t bytes = 0;
    for (const StateEntry& entry : trainer.state().entries)
      if (entry.owner) bytes += entry.tensor.bytes();
    bytes = world_.all().all_reduce(bytes, Reduce::sum, "checkpoint bytes");
    in_agreement(world_, "checkpoints", [&] {
      if (world_.rank() != 0) return;
      const std::string root = run_.checkpoints(recipe_);
      for (const std::string& line : hold_.settle_line(storage_, base_, damaged_))
        log::info("ckpt     " + line);
      const std::string shortage = lack_of_room(storage_, root, bytes, recipe_);
      if (!shortage.empty()) log::warn("W034 " + shortage);
      generation_ = hold_.generation();
    });
    generation_ = world_.all().all_reduce(generation_, Reduce::max, "generation");
  }

  std::vector<std::string> header() const {
    return {version_string() + ", recipe " + loaded_.path,
            "ranks " + std::to_string(world_.size()) + " = " + comms_.grid().to_string(),
            describe_cpu() + ", " + (device_.is_host() ? "" : describe(device_) + ", ") +
                world_.library() + ", " + build_description()};
  }

  // Loads weights or the whole state, as asked. Returns the words for the "start" line.
  std::string restore(Trainer& trainer) {
    const Section section(SectionKind::load);
    const std::string root = run_.checkpoints(recipe_);
    State state = trainer.state();
    std::optional<LoadReport> report;
    const LoadOptions options{.accept = [this](const CheckpointReader& from) { compare(from); }};
    in_agreement(world_, "resume", [&] {
      if (command_.resume == "auto")
        report = load_newest(storage_, world_.all(), root, state, options);
      else if (!resume_from_.empty())
        report = load_checkpoint(storage_, world_.all(), resume_from_, state, options);
    });
    if (report) {
      trainer.restore(state);
      pinned_.push_back(report->step);
      // A checkpoint of another directory starts a line of its own in this one.
      std::error_code error;
      const bool own =
          std::filesystem::equivalent(parent_directory(report->directory), root, error);
      base_ = own ? report->step : -1;
      if (world_.rank() == 0)
        for (const PassedOver& passed : report->passed_over) {
          warnings_.push_back("W011 " + passed.reason + " Resuming from " + report->directory +
                              ".");
          if (passed.word == "damaged") damaged_.push_back(passed.step);
        }
      if (world_.rank() == 0 && !command_.init_from.empty())
        warnings_.push_back("W052 --init-from " + command_.init_from +
                            " is not used: the run goes on from step " +
                            std::to_string(report->step) + "; --resume none starts afresh");
      warn_of_other_path(report->directory);
      warn_of_groups(report->directory);
      return "resume " +
             std::string(6 - std::min<size_t>(6, std::to_string(report->step).size()), ' ') +
             std::to_string(report->step) + "       from " + report->directory;
    }
    if (!init_from_.empty()) {
      State weights = trainer.weights();
      in_agreement(world_, "init", [&] {
        if (is_hub_model(storage_, init_from_))
          HubModel::open(storage_, init_from_).load(weights);
        else
          load_checkpoint(storage_, world_.all(), init_from_, weights, {.roles = {"param"}});
      });
      trainer.publish_weights();
      if (!is_hub_model(storage_, init_from_)) {
        warn_of_groups(init_from_);
        tell_what_weights_knew();
      }
      if (world_.rank() == 0)
        log::info("init     weights from " + init_from_ + ", fresh optimizer");
      return "init from " + init_from_;
    }
    return "fresh";
  }

  // Refuses a checkpoint of another function or of other data before anything of it is loaded.
  void compare(const CheckpointReader& from) {
    const std::vector<Changed> changes = changes_since(from.manifest(), recipe_, made_);
    refuse_changes(changes, parse_allowed(command_.allow_changed), from.directory());
    const std::string since = "since step " + std::to_string(from.manifest().step);
    changed_ = changes.empty() ? "" : since + ": " + in_one_line(changes);
    if (!made_with(from.scalars()))
      changed_ += (changed_.empty() ? since + ": " : ", ") +
                  std::string("tokenizer and data are not known, for the checkpoint does not tell");
  }

  // Weights under a new recipe are a new run, whose length and rates are its own.
  void tell_what_weights_knew() {
    if (world_.rank() != 0) return;
    std::vector<Changed> changes =
        changes_since(CheckpointReader::open(storage_, init_from_).manifest(), recipe_, made_);
    std::erase_if(changes, [](const Changed& change) {
      return change.kind != Changed::Kind::model && change.kind != Changed::Kind::tokenizer;
    });
    if (!changes.empty())
      changed_ = "since the weights of " + init_from_ + ": " + in_one_line(changes);
  }

  void warn_of_groups(const std::string& directory) {
    if (world_.rank() != 0) return;
    const std::string warning =
        group_rule_warning(recipe_.model, CheckpointReader::open(storage_, directory).manifest());
    if (!warning.empty()) warnings_.push_back(warning);
  }

  // The instruction-set path and the GPU stand in the recipe that the checkpoint carries: header().
  void warn_of_other_path(const std::string& directory) {
    if (world_.rank() != 0) return;
    const CheckpointReader reader = CheckpointReader::open(storage_, directory);
    const std::string& text = reader.recipe();
    run_id_ = reader.manifest().run_id;
    if (text.find(std::string("x86-64-") + name(cpu_path()) + ",") == std::string::npos)
      warnings_.push_back("W012 saved under another instruction-set path than x86-64-" +
                          std::string(name(cpu_path())) +
                          ": bits may differ from the run that was interrupted");
    const bool was_gpu = text.find(", cuda:") != std::string::npos;
    if (was_gpu != (device_.kind == Device::Kind::cuda))
      warnings_.push_back(
          std::string("W015 saved on a ") +
          (was_gpu ? "GPU, resumed on the CPU" : "CPU, resumed on a GPU") +
          ": the rest agrees with the run that was interrupted within rounding only");
  }

  void announce(const Trainer& trainer) {
    const auto& ranks = comms_.grid();
    const int64_t dp = ranks.size(Axis::data);
    log::info(version_string() + "  recipe " + recipe_.name + " (" + loaded_.path +
              (loaded_.num_overrides > 0 ? " + " + std::to_string(loaded_.num_overrides) +
                                               " override" + (loaded_.num_overrides > 1 ? "s" : "")
                                         : "") +
              ")  run dir " + run_.path());
    log::info("layout   " + std::to_string(world_.size()) + " rank" +
              (world_.size() > 1 ? "s" : "") + " = " + ranks.to_string() + "   batch " +
              batch_words(recipe_, dp) + alone_hint(world_, recipe_));
    if (recipe_.batch.ramp.from > 0 || recipe_.run.tokens > 0)
      for (const ScheduleLine& line : schedule_lines(recipe_))
        log::info(line.label + std::string(9 - line.label.size(), ' ') + line.text);
    flops_per_token_ = training_flops_per_token(recipe_.model, recipe_.data.sequence_length);
    log::info(std::string("model    ") + name_of(recipe_.model.architecture) + "  " +
              std::to_string(recipe_.model.num_hidden_layers) + " layers  " +
              with_prefix(static_cast<double>(trainer.num_parameters())) + " parameters (" +
              with_prefix(flops_per_token_) + "FLOP/token)   " + name(recipe_.compute_type()) +
              " compute, " + name(accumulation_type(recipe_.compute_type())) + " master");
    const MemoryUse& planned = fit_.memory;
    const auto peak = [&](MemoryClass c) {
      return as_bytes(static_cast<double>(planned.peak[static_cast<size_t>(c)]));
    };
    log::info("memory   per rank: weights " + peak(MemoryClass::weights) + "  grads " +
              peak(MemoryClass::gradients) + "  optimizer " + peak(MemoryClass::optimizer) +
              "  activations " + peak(MemoryClass::activations) + "  in all " +
              as_bytes(static_cast<double>(planned.system_bytes)) + " (planned)" +
              (fit_.capacity.bytes > 0
                   ? " of " + as_bytes(static_cast<double>(fit_.capacity.bytes)) + ": fits"
                   : ""));
    {
      const Activity activity("compressing", recipe_.data.validation + " with xz");
      summary_.xz_bits_per_byte = validation_xz(recipe_);
    }
    std::string data =
        "data     train " + with_prefix(static_cast<double>(summary_.train_tokens)) + " tokens";
    if (summary_.bytes_per_token > 0)
      data += " (" + fixed(summary_.bytes_per_token, 1) + " bytes/token)";
    if (summary_.validation_tokens > 0)
      data += "  validation " + with_prefix(static_cast<double>(summary_.validation_tokens));
    if (summary_.xz_bits_per_byte > 0)
      data += "  xz -9e on validation: " + fixed(summary_.xz_bits_per_byte, 2) + " bits/byte";
    log::info(data);
    log::info("device   " + describe(device_) + "   comm " +
              (world_.size() > 1
                   ? std::string(comms_.world().transport()) + " (" + world_.library() + ")"
                   : "self"));
  }

  int train(Trainer& trainer, const std::string& how) {
    LoopOptions loop;
    loop.checkpoints = run_.checkpoints(recipe_);
    loop.run_id = world_.all().broadcast(run_id_.empty() ? unique_suffix() : run_id_, 0, "run id");
    loop.generation = generation_;
    loop.base = base_;
    loop.still_held = [this] { hold_.check_held(); };
    loop.on_saved = [this](int64_t step) {
      hold_.saved(step);
      if (!std::exchange(saved_, true)) tell_supervisor("saved");
    };
    loop.resolved_recipe = resolved_;
    loop.made_with = scalars_of(made_);
    loop.pinned_steps = pinned_;
    loop.trace_file = run_.path() + "/trace/trace.json";
    loop.stop_after = command_.stop_after;
    // Whoever has lost its directories stops at the next step; its save then says why.
    loop.stop_requested = [this] { return stop_signalled() || hold_.lost(); };
    const double peak = peak_of_all();
    std::unique_ptr<Console> console;
    std::vector<std::unique_ptr<Observer>> files;
    if (world_.rank() == 0) {
      console = std::make_unique<Console>(
          ConsoleOptions{.total_steps = trainer.total_steps(),
                         .total_samples = trainer.total_samples(),
                         .ramp = recipe_.batch.ramp.from > 0,
                         .log_every = recipe_.run.log_every,
                         .bytes_per_token = summary_.bytes_per_token,
                         .flops_per_token = flops_per_token_,
                         .peak_flops = peak,
                         .xz_bits_per_byte = summary_.xz_bits_per_byte,
                         .terminal = stderr_is_terminal() && command_.verbosity >= 0});
      if (recipe_.metrics.jsonl)
        files.push_back(std::make_unique<MetricsFile>(run_.metrics(),
                                                      RunFacts{.flops_per_token = flops_per_token_,
                                                               .peak_flops = peak,
                                                               .compute = recipe_.compute_type(),
                                                               .tf32 = recipe_.precision.tf32}));
      if (recipe_.metrics.tensorboard)
        files.push_back(std::make_unique<TensorBoardFile>(run_.path()));
      loop.observers.push_back(console.get());
      for (const auto& file : files) loop.observers.push_back(file.get());
      for (Observer* observer : loop.observers) observer->on_start(trainer.steps_done(), how);
    }
    if (trainer.steps_done() >= trainer.total_steps() && world_.rank() == 0)
      log::info("step " + std::to_string(trainer.steps_done()) + " of " +
                std::to_string(trainer.total_steps()) +
                " is done already; --resume none starts afresh, " +
                (recipe_.run.tokens > 0 ? "run.tokens" : "run.steps") + "=N goes on");
    const Outcome outcome = run_training(trainer, comms_, storage_, loop);
    if (world_.rank() == 0) sweep_remains(storage_, loop.checkpoints, generation_);
    if (console) finish(*console, trainer, outcome);
    return outcome == Outcome::preempted && world_.rank() == 0 ? kPreempted : 0;
  }

  void finish(Console& console, const Trainer& trainer, Outcome outcome) {
    const std::string step =
        std::to_string(trainer.steps_done()) + "/" + std::to_string(trainer.total_steps());
    switch (outcome) {
      case Outcome::done:
        console.finish("done  " + step,
                       recipe_.data.tokenizer.empty()
                           ? ""
                           : "tessera generate " + run_.path() + " -p \"In the beginning\"");
        break;
      case Outcome::stopped: console.finish("stopped at step " + step + " (--steps)", ""); break;
      case Outcome::preempted: console.finish("preempted at step " + step, "resume"); break;
    }
    const MemoryUse use = memory_use(device_);
    std::string peaks;
    for (int c = 0; c < kNumMemoryClasses; ++c)
      peaks += std::string(c ? "  " : "") + name(static_cast<MemoryClass>(c)) + " " +
               as_bytes(static_cast<double>(use.peak[static_cast<size_t>(c)]));
    log::info("memory   peak of rank 0: " + as_bytes(static_cast<double>(use.system_bytes)) +
              "  (" + peaks + ")");
  }

  // What all ranks' devices could do together: what MFU is a share of. CPUs: measured by all at
  // the same time. GPUs: by their data sheets, each counted once. 0 where it is not known, and on
  // the reference device, whose speed is of no interest.
  double peak_of_all() const {
    if (device_.kind == Device::Kind::cuda) return published_peak_of_all();
    if (device_.kind != Device::Kind::cpu) return 0;
    const double mine = measure_peak_flops(recipe_.compute_type(), cpu_threads());
    return static_cast<double>(
        world_.all().all_reduce(static_cast<int64_t>(mine), Reduce::sum, "peak"));
  }
  double published_peak_of_all() const {
    const DeviceFacts facts = cuda_accelerator().facts(device_.index);
    const double mine =
        published_peak_flops(facts.name, recipe_.compute_type(), recipe_.precision.tf32);
    const auto all = world_.all().all_gather(facts.identity, "GPU");
    const auto sharing = std::count(all.begin(), all.end(), facts.identity);
    if (!world_.all().agree(mine > 0, "peak")) return 0;
    return static_cast<double>(
        world_.all().all_reduce(static_cast<int64_t>(mine) / sharing, Reduce::sum, "peak"));
  }

  const TrainCommand& command_;
  World& world_;
  LoadedRecipe loaded_;
  const Recipe& recipe_;
  PosixStorage storage_;
  DataSummary summary_;
  std::string resume_from_, init_from_;  // checkpoints asked for; empty: none
  RankFit fit_;
  MadeWith made_;
  std::vector<std::string> warnings_;  // told when the log file is open
  std::string changed_;  // told then, too, by rank 0: what differs from the checkpoint
  RunDirectory run_;
  Device device_;  // preflight() fills the summary, the checkpoints and the fit
  GpuGroups gpu_groups_;
  Communicators comms_;
  RunHold hold_;  // take_directory() fills it
  std::string resolved_, run_id_;
  std::vector<int64_t> pinned_, damaged_;
  int64_t base_ = -1;  // the step in the directory of checkpoints that this job goes on from
  int64_t generation_ = 0;
  bool saved_ = false;  // by this job
  double flops_per_token_ = 0;
};

}  // namespace

int train_verb(const TrainCommand& command) {
  const int code = run_in_world(command.verbosity, [&](World& world) {
    const Section section(SectionKind::init);
    return TrainRun(command, world)();
  });
  // srun --kill-on-bad-exit kills whoever is not gone yet, and then reports that instead of 75.
  if (code == kPreempted) std::this_thread::sleep_for(std::chrono::milliseconds(500));
  return code;
}

}  // namespace tessera
