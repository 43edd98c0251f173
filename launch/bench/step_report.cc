// SPDX-License-Identifier: Apache-2.0
#include "launch/bench/step_report.h"

#include <cstdio>

#include <nlohmann/json.hpp>

#include "kernels/cpu_path.h"
#include "launch/job/device_choice.h"
#include "launch/report/format.h"
#include "trainer/model/counts.h"

namespace tessera {
namespace {

constexpr double kMilli = 1e3, kGiga = 1e-9;

// The figures that follow from what was measured.
struct Figures {
  double tokens = 0;   // of a step
  double flops = 0;    // of a step
  double share = 0;    // percent of the peak; 0 where that is not known
  double earlier = 0;  // tokens per second of BenchCommand::compare; 0: nothing is compared
};

Figures figures_of(const BenchCommand& command, const StepMeasured& measured) {
  Figures figures;
  figures.tokens = static_cast<double>(command.batch * command.sequence * command.microbatches);
  figures.flops = figures.tokens * training_flops_per_token(measured.model, command.sequence);
  if (measured.peak_flops > 0)
    figures.share = 100 * figures.flops / measured.step.median / measured.peak_flops;
  const std::map<std::string, double> earlier = earlier_medians(command);
  if (!earlier.empty()) figures.earlier = earlier.at("step");
  return figures;
}

void print_json(const BenchCommand& command, const StepMeasured& measured, const Figures& figures) {
  const Spread& time = measured.step;
  nlohmann::ordered_json json = {{"benchmark", "step"},
                                 {"dtype", command.dtype},
                                 {"device", describe(measured.device)},
                                 {"path", name(cpu_path())},
                                 {"threads", cpu_threads()},
                                 {"parameters", num_parameters(measured.model)},
                                 {"batch", command.batch},
                                 {"sequence", command.sequence},
                                 {"microbatches", command.microbatches},
                                 {"tokens_per_second", figures.tokens / time.median},
                                 {"tokens_per_second_least", figures.tokens / time.most},
                                 {"tokens_per_second_most", figures.tokens / time.least},
                                 {"gflops", figures.flops / time.median * kGiga},
                                 {"system_allocations_in_steady_steps", measured.new_allocations},
                                 {"peak_bytes", measured.memory.peak_total}};
  if (figures.earlier > 0) json["ratio"] = figures.tokens / time.median / figures.earlier;
  if (measured.peak_flops > 0) {
    json["peak_gflops"] = measured.peak_flops * kGiga;
    json["percent_of_peak"] = figures.share;
  }
  for (const auto& [part, spread] : measured.parts) json["ms"][part] = spread.median * kMilli;
  if (!measured.graph_seconds.empty())
    json["graph_ms"] = spread_of(measured.graph_seconds).median * kMilli;
  for (int i = 0; i < kNumMemoryClasses; ++i)
    json["peak_bytes_by_class"][name(static_cast<MemoryClass>(i))] =
        measured.memory.peak[static_cast<size_t>(i)];
  std::printf("%s\n", json.dump().c_str());
}

std::string in_milliseconds(const Spread& spread) {
  const auto text = [](double seconds) { return fixed(seconds * kMilli, 1); };
  return text(spread.median) + " [" + text(spread.least) + " .. " + text(spread.most) + "]";
}

void print_times(const StepMeasured& measured) {
  std::vector<std::vector<std::string>> rows = {{"part", "ms", "share %"}};
  for (const auto& [part, spread] : measured.parts)
    rows.push_back(
        {part, in_milliseconds(spread), fixed(100 * spread.median / measured.step.median, 1)});
  rows.push_back({"step", in_milliseconds(measured.step), "100"});
  std::fputs(table(rows).c_str(), stdout);
  if (!measured.graph_seconds.empty())
    std::printf("forward and backward launched as one graph: %s ms\n",
                in_milliseconds(spread_of(measured.graph_seconds)).c_str());
}

void print_memory(const StepMeasured& measured) {
  std::printf("system allocations in the steady steps: %lld\npeak memory:",
              static_cast<long long>(measured.new_allocations));
  for (int i = 0; i < kNumMemoryClasses; ++i)
    std::printf(
        " %s %s,", name(static_cast<MemoryClass>(i)),
        as_bytes(static_cast<double>(measured.memory.peak[static_cast<size_t>(i)])).c_str());
  std::printf(" together %s\n", as_bytes(static_cast<double>(measured.memory.peak_total)).c_str());
}

void print_text(const BenchCommand& command, const StepMeasured& measured, const Figures& figures) {
  const std::string times =
      command.microbatches > 1 ? std::to_string(command.microbatches) + " x " : std::string();
  std::printf("%s parameters, %sB=%lld T=%lld, %s, %s, median of %d steps\n",
              with_prefix(static_cast<double>(num_parameters(measured.model))).c_str(),
              times.c_str(), static_cast<long long>(command.batch),
              static_cast<long long>(command.sequence), command.dtype.c_str(),
              describe(measured.device).c_str(), command.rounds);
  print_times(measured);
  print_memory(measured);
  const Spread& time = measured.step;
  std::printf("%.1f tokens/s [%.1f .. %.1f], %.1f GFLOP/s", figures.tokens / time.median,
              figures.tokens / time.most, figures.tokens / time.least,
              figures.flops / time.median * kGiga);
  if (measured.peak_flops > 0)
    std::printf(" = %.1f %% of the %s of %.0f\n", figures.share, measured.peak_words.c_str(),
                measured.peak_flops * kGiga);
  else
    std::printf(" (%s: not known for %s)\n", measured.peak_words.c_str(), command.dtype.c_str());
  if (figures.earlier > 0)
    std::printf("%.3f of the %.1f tokens/s in %s\n", figures.tokens / time.median / figures.earlier,
                figures.earlier, command.compare.c_str());
}

}  // namespace

void report_step(const BenchCommand& command, const StepMeasured& measured) {
  const Figures figures = figures_of(command, measured);
  if (command.json)
    print_json(command, measured, figures);
  else
    print_text(command, measured, figures);
}

}  // namespace tessera
