// SPDX-License-Identifier: Apache-2.0
// `tessera plan`: what a recipe needs of each rank, what it sends, how long it idles, and whether a
// device has room for it; found by playing the ranks (trainer/planner.h).
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <memory>
#include <optional>

#include <nlohmann/json.hpp>

#include "launch/recipe/reader.h"
#include "launch/report/format.h"
#include "launch/report/schedule_lines.h"
#include "launch/run/memory_fit.h"
#include "launch/verb/common_flags.h"
#include "launch/verb/verbs.h"
#include "parallel/pipeline/picture.h"
#include "trainer/model/build.h"
#include "trainer/model/counts.h"
#include "trainer/planner.h"
#include "trainer/timeline.h"
#include "trainer/training_plan.h"

namespace tessera {
namespace {

struct PlanCommand {
  std::string recipe;
  std::vector<std::string> overrides;
  int ranks = 0;  // 0: as few as the layout needs
  std::string device = "cpu";
  std::string picture;  // SVG file to write
  bool json = false;
};

using Json = nlohmann::ordered_json;

int64_t peak(const MemoryUse& memory, MemoryClass memory_class) {
  return memory.peak[static_cast<size_t>(memory_class)];
}

std::string size(int64_t bytes) {
  return as_binary_bytes(static_cast<double>(bytes));
}

// A step before the batch has grown.
struct Earlier {
  int64_t sequences = 0;
  int num_micro = 0;
  std::string schedule;
  double bubble = 0;
  Need need;
};

Earlier earlier_of(const DryJob& job) {
  const int num_micro = job.plan().num_micro;
  return {.sequences = job.sequences(),
          .num_micro = num_micro,
          .schedule = layout_of_step(job.recipe(), num_micro).schedule,
          .bubble = job.simulate().bubble(),
          .need = largest_need(job)};
}

// Everything that is printed, in either form.
struct Report {
  const LoadedRecipe& loaded;
  const DryJob& job;  // of the largest step
  Simulation simulation;
  Capacity capacity;
  std::vector<PlayedRank> ranks{};  // by pipeline coordinate
  size_t largest = 0;               // that needs the most memory
  std::vector<Earlier> earlier{};   // of a ramp: the first, and the last of another schedule
  std::optional<Change> change{};   // where one of them does not fit

  Need need() const {  // the most of all steps
    Need most{ranks[largest].rank, ranks[largest].memory};
    for (const Earlier& step : earlier)
      if (step.need.memory.system_bytes > most.memory.system_bytes) most = step.need;
    return most;
  }
  bool fits() const { return need().memory.system_bytes <= capacity.bytes; }
  int num_ranks() const { return job.grid().num_ranks(); }
};

Report report_of(const LoadedRecipe& loaded, const std::vector<DryJob>& jobs,
                 const std::string& device) {
  const DryJob& job = jobs.back();
  Report report{.loaded = loaded,
                .job = job,
                .simulation = job.simulate(),
                .capacity = capacity_of(device, job.grid().num_ranks())};
  for (const int rank : job.typical_ranks()) {
    report.ranks.push_back(job.play(rank));
    const auto total = [&](size_t i) { return report.ranks[i].memory.system_bytes; };
    const size_t last = report.ranks.size() - 1;
    if (total(last) > total(report.largest)) report.largest = last;
  }
  for (size_t i = 0; i + 1 < jobs.size(); ++i) report.earlier.push_back(earlier_of(jobs[i]));
  if (!report.fits())
    report.change = cheapest_change(job.recipe(), report.num_ranks(), report.capacity.bytes);
  return report;
}

// Coordinates that need the same share a row.
std::string ranks_table(const Report& report) {
  std::vector<std::vector<std::string>> rows = {{"pipeline", "rank", "layers", "parameters",
                                                 "weights", "gradients", "optimizer", "activations",
                                                 "communication", "in all", "tapes", "idle"}};
  for (const PlayedRank& rank : report.ranks) {
    const auto at = static_cast<size_t>(rank.coordinate);
    const auto memory = [&](MemoryClass c) { return size(peak(rank.memory, c)); };
    std::vector<std::string> row = {
        std::to_string(rank.coordinate),
        std::to_string(rank.rank),
        std::to_string(rank.layers),
        with_prefix(static_cast<double>(rank.parameters)),
        memory(MemoryClass::weights),
        memory(MemoryClass::gradients),
        memory(MemoryClass::optimizer),
        memory(MemoryClass::activations),
        memory(MemoryClass::communication),
        size(rank.memory.system_bytes),
        std::to_string(report.simulation.peak_live[at]),
        fixed(100 * report.simulation.bubble(rank.coordinate), 1) + "%"};
    if (rows.size() > 1 && std::equal(row.begin() + 2, row.end(), rows.back().begin() + 2)) {
      const std::string first = rows.back()[0].substr(0, rows.back()[0].find('-'));
      rows.back()[0] = first + "-" + row[0];
      continue;
    }
    rows.push_back(std::move(row));
  }
  return table(rows);
}

std::string traffic_table(const PlayedRank& rank) {
  std::vector<std::vector<std::string>> rows = {
      {"group", "ranks", "call", "what", "calls", "bytes", "sent"}};
  int64_t sent = 0;
  for (const Traffic& one : traffic(rank.calls)) {
    rows.push_back({one.group, std::to_string(one.ranks), one.operation, one.tag,
                    std::to_string(one.calls), size(one.bytes), size(one.sent)});
    sent += one.sent;
  }
  if (rows.size() == 1) return "communication: none, there is one rank\n";
  rows.push_back({"all", "", "", "", "", "", size(sent)});
  return "communication of rank " + std::to_string(rank.rank) +
         " in a step (bytes: of whole tensors; sent: by this rank, over a ring)\n" + table(rows);
}

// What steps of a ramp have instead.
std::string earlier_lines(const Report& report) {
  std::string text;
  for (const Earlier& step : report.earlier)
    text += (text.empty() ? "at first   " : "later      ") +
            (report.job.plan().num_ranks() > 1 ? step.schedule : "one stage") + "  " +
            std::to_string(step.sequences) + " sequences  " + std::to_string(step.num_micro) +
            " microbatch" + (step.num_micro > 1 ? "es" : "") + " a step  bubble " +
            fixed(100 * step.bubble, 1) + "%  largest rank " + size(step.need.memory.system_bytes) +
            "\n";
  return text;
}

std::string schedule_line(const Report& report) {
  const Plan& plan = report.job.plan();
  const ParallelOptions& parallel = report.loaded.recipe.parallel;
  return "schedule   " + (plan.num_ranks() > 1 ? parallel.schedule : "one stage") + "  " +
         std::to_string(plan.num_stages()) + " stage" + (plan.num_stages() > 1 ? "s" : "") + "  " +
         std::to_string(plan.num_micro) + " microbatch" + (plan.num_micro > 1 ? "es" : "") +
         " a step  bubble " + fixed(100 * report.simulation.bubble(), 1) + "%  recompute " +
         name_of(parallel.recompute) + "\n" + earlier_lines(report);
}

// "6.84M parameters", of a mixture of experts "6.84M parameters (3.13M active)".
std::string parameter_words(const ModelOptions& model) {
  std::string words = with_prefix(static_cast<double>(num_parameters(model))) + " parameters";
  if (model.has_experts())
    words += " (" + with_prefix(static_cast<double>(num_active_parameters(model))) + " active)";
  return words;
}

void print_text(const Report& report) {
  const Recipe& recipe = report.loaded.recipe;
  const int data = report.job.grid().size(Axis::data);
  std::string text = "recipe     " + recipe.name + " (" + report.loaded.path + ")\n";
  text += "layout     " + std::to_string(report.num_ranks()) + " rank" +
          (report.num_ranks() > 1 ? "s" : "") + " = " + report.job.grid().to_string() + "   zero " +
          std::to_string(recipe.parallel.zero) + "   batch " + batch_words(recipe, data) + "\n";
  text += std::string("model      ") + name_of(recipe.model.architecture) + "  " +
          std::to_string(recipe.model.num_hidden_layers) + " layers  " +
          parameter_words(recipe.model) + "  " +
          with_prefix(training_flops_per_token(recipe.model, recipe.data.sequence_length)) +
          "FLOP/token  " + name(recipe.compute_type()) + "\n";
  text += schedule_line(report);
  for (const ScheduleLine& line : schedule_lines(recipe))
    text += line.label + std::string(11 - line.label.size(), ' ') + line.text + "\n";
  text += "checkpoint " + size(checkpoint_bytes(recipe)) + "\n\n";
  text += "memory of a rank at its peak in a step, by pipeline coordinate\n";
  text += ranks_table(report) + "\n" + traffic_table(report.ranks[report.largest]);
  if (report.fits())
    text += "\nfits       rank " + std::to_string(report.need().rank) +
            " needs the most: " + size(report.need().memory.system_bytes) + " of " +
            size(report.capacity.bytes) + " (" + report.capacity.words + ")\n";
  std::fputs(text.c_str(), stdout);
}

Json json_of(const Report& report, const PlayedRank& rank) {
  const auto at = static_cast<size_t>(rank.coordinate);
  Json memory, communication = Json::array();
  for (int c = 0; c < kNumMemoryClasses; ++c)
    memory[name(static_cast<MemoryClass>(c))] = rank.memory.peak[static_cast<size_t>(c)];
  for (const Traffic& one : traffic(rank.calls))
    communication.push_back({{"group", one.group},
                             {"ranks", one.ranks},
                             {"operation", one.operation},
                             {"tag", one.tag},
                             {"calls", one.calls},
                             {"bytes", one.bytes},
                             {"sent", one.sent}});
  return {{"rank", rank.rank},
          {"pipeline", rank.coordinate},
          {"layers", rank.layers},
          {"parameters", rank.parameters},
          {"memory", memory},
          {"peak", rank.memory.peak_total},
          {"system", rank.memory.system_bytes},
          {"tapes", report.simulation.peak_live[at]},
          {"idle", report.simulation.bubble(rank.coordinate)},
          {"communication", communication}};
}

Json json_of(const Earlier& step) {
  return {{"sequences", step.sequences},
          {"microbatches", step.num_micro},
          {"schedule", step.schedule},
          {"bubble", step.bubble},
          {"needs", step.need.memory.system_bytes}};
}

void print_json(const Report& report) {
  const Recipe& recipe = report.loaded.recipe;
  const Timeline timeline(recipe);
  const ProcessGrid& grid = report.job.grid();
  Json ranks = Json::array(), earlier = Json::array();
  for (const PlayedRank& rank : report.ranks) ranks.push_back(json_of(report, rank));
  for (const Earlier& step : report.earlier) earlier.push_back(json_of(step));
  const Json json = {
      {"recipe", recipe.name},
      {"ranks", report.num_ranks()},
      {"layout",
       {{"data", grid.size(Axis::data)},
        {"tensor", grid.size(Axis::tensor)},
        {"pipeline", grid.size(Axis::pipeline)},
        {"zero", recipe.parallel.zero},
        {"schedule", recipe.parallel.schedule}}},
      {"parameters", num_parameters(recipe.model)},
      {"active_parameters", num_active_parameters(recipe.model)},
      {"flops_per_token", training_flops_per_token(recipe.model, recipe.data.sequence_length)},
      {"stages", report.job.plan().num_stages()},
      {"microbatches", report.job.plan().num_micro},
      {"bubble", report.simulation.bubble()},
      {"steps", timeline.in_steps(recipe.run.length())},
      {"tokens", timeline.in_tokens(recipe.run.length())},
      {"earlier_steps", earlier},
      {"checkpoint_bytes", checkpoint_bytes(recipe)},
      {"device", {{"name", report.capacity.device}, {"bytes", report.capacity.bytes}}},
      {"needs", report.need().memory.system_bytes},
      {"fits", report.fits()},
      {"cheapest_change", report.change ? Json(report.change->keys) : Json()},
      {"by_pipeline_coordinate", ranks}};
  std::printf("%s\n", json.dump().c_str());
}

void draw(const Report& report, const std::string& path) {
  const Plan& plan = report.job.plan();
  const std::string title = report.loaded.recipe.parallel.schedule + ", " +
                            std::to_string(plan.num_ranks()) + " ranks, " +
                            std::to_string(plan.num_micro) + " microbatches";
  std::ofstream out(path);
  out << to_svg(plan, report.simulation, {.title = title});
  out.close();
  check(out.good(), ErrorKind::usage, "plan: cannot write", path);
}

int run_plan(const PlanCommand& command) {
  constexpr int kMostPlanned = 1 << 24;
  int ranks = command.ranks;
  if (ranks == 0) {
    const Recipe recipe = load_recipe(command.recipe, command.overrides, 0).recipe;
    const ParallelOptions& parallel = recipe.parallel;
    const double least = static_cast<double>(parallel.tensor) *
                         static_cast<double>(parallel.pipeline) *
                         static_cast<double>(std::max<int64_t>(1, parallel.data));
    check(least <= kMostPlanned, ErrorKind::capacity, "plan: a layout of more than", kMostPlanned,
          "ranks");
    ranks = static_cast<int>(least);
  }
  const LoadedRecipe loaded = load_recipe(command.recipe, command.overrides, ranks);
  Recipe planned = loaded.recipe;
  if (command.device != "cpu") planned.run.device = "cuda";
  const std::vector<DryJob> jobs = dry_jobs(planned, ranks);
  const Report report = report_of(loaded, jobs, command.device);
  if (!command.picture.empty()) draw(report, command.picture);
  if (command.json)
    print_json(report);
  else
    print_text(report);
  std::fflush(stdout);
  if (!report.fits()) refuse(report.need(), report.capacity, report.change, report.num_ranks());
  return 0;
}

}  // namespace

Verb plan_verb() {
  const auto c = std::make_shared<PlanCommand>();
  return {.name = "plan",
          .help = "what a recipe needs on a number of ranks; runs nothing",
          .flags = {recipe_row(c->recipe),
                    overrides_row(c->overrides),
                    {"-n,--ranks", &c->ranks, "default: as few as the layout needs",
                     Whole{1, kMostRanks}},
                    {"--device",
                     &c->device,
                     "whose memory: cpu | h200-141g | h100-80g | a100-80g",
                     {},
                     {.shows_default = true}},
                    {"--picture", &c->picture, "SVG file to draw the pipeline into"},
                    json_row(c->json)},
          .run = [c] { return run_plan(*c); }};
}

}  // namespace tessera
