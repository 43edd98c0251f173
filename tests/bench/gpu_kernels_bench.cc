// SPDX-License-Identifier: Apache-2.0
// Every hot kernel on a GPU beside what that GPU could do, measured in the same rounds: kernels
// that move memory beside a copy within the GPU (bytes read and written), matrix products and
// attention beside a large bf16 product of cuBLASLt on random data. Shapes: 16384 rows of a decoder
// with hidden 2048 (Llama) and of DeepSeek-V2-Lite; bf16, f32 where the trainer has f32. Times are
// those between two events around several launches; each round times every kernel once, medians are
// printed.
//
//   bench_gpu_kernels [--small] [--once] [--predictions FILE] [--rows FILE] [ROUNDS]
//     --small             tiny shapes, to see that it runs at all
//     --once              one launch of each, untimed, for a profiler
//     --predictions FILE  prints what was predicted beside what was measured (gpu_predictions.h)
//     --rows FILE         appends each kernel's result as a line of JSON
//   bench_gpu_kernels --check [--small]
//     whether kernels are right at real shapes (gpu_check.h); exit code 1 where one is not
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>

#include "kernels/base/check.h"
#include "kernels/cuda_plugin.h"
#include "tests/bench/gpu_cases.h"
#include "tests/bench/gpu_check.h"
#include "tests/bench/gpu_predictions.h"
#include "tests/bench/timing.h"

namespace tessera::bench {
namespace {

double milliseconds(Stream& stream, int runs, const std::function<void()>& work) {
  Event before(stream.device(), Timing::on), after(stream.device(), Timing::on);
  before.record(stream);
  for (int run = 0; run < runs; ++run) work();
  after.record(stream);
  after.synchronize();
  return std::max(1e-6, after.milliseconds_since(before)) / runs;
}

struct Timed {
  GpuCase what;
  int runs = 1;
  std::vector<double> rates = {};  // per second, round by round
};

std::vector<Timed> timed(Stream& stream, std::vector<GpuCase> cases, int rounds) {
  constexpr double kMillisecondsEach = 10;
  constexpr double kMostRuns = 200;
  std::vector<Timed> all;
  for (GpuCase& each : cases) all.push_back({std::move(each)});
  for (Timed& each : all) {
    each.what.run();
    stream.synchronize();
    each.runs = static_cast<int>(
        std::clamp(kMillisecondsEach / milliseconds(stream, 1, each.what.run), 1.0, kMostRuns));
  }
  for (int round = 0; round < rounds; ++round)
    for (Timed& each : all)
      each.rates.push_back(each.what.work * 1e3 / milliseconds(stream, each.runs, each.what.run));
  return all;
}

double best_ceiling(const std::vector<Timed>& all, Limits limit) {
  double best = 0;
  for (const Timed& each : all)
    if (each.what.limit == limit && each.what.is_ceiling) best = median(each.rates);
  return best;
}

struct Options {
  bool small = false, once = false, check = false;
  std::string predictions, rows;
  int rounds = 7;
};

// In the unit of a prediction.
double measured_in(const std::string& unit, const Timed& timed, double ceiling) {
  const double rate = median(timed.rates);
  if (unit == "ms") return 1e3 * timed.what.work / rate;
  if (unit == "TFLOP/s") return 1e-12 * rate;
  return 100 * rate / ceiling;
}

void append_row(const std::string& path, const Timed& timed, double ceiling,
                const Prediction* predicted) {
  if (path.empty()) return;
  std::FILE* file = std::fopen(path.c_str(), "a");
  check(file != nullptr, ErrorKind::usage, "--rows:", path, "cannot be written");
  const double rate = median(timed.rates);
  std::fprintf(file,
               "{\"stage\":\"bench: kernels\",\"kernel\":\"%s\",\"per_second\":%.6g,\"ms\":%.6g,",
               timed.what.name.c_str(), rate, 1e3 * timed.what.work / rate);
  std::fprintf(file, "\"percent_of_ceiling\":%.4g", 100 * rate / ceiling);
  if (predicted != nullptr)
    std::fprintf(file, ",\"unit\":\"%s\",\"predicted\":%.4g,\"measured\":%.4g",
                 predicted->unit.c_str(), predicted->value,
                 measured_in(predicted->unit, timed, ceiling));
  std::fprintf(file, "}\n");
  check(std::fclose(file) == 0, ErrorKind::usage, "--rows:", path, "cannot be written");
}

void report(const std::vector<Timed>& all, const Options& options, const Predictions& predictions) {
  std::printf("%-56s %10s   %-24s %s\n", "kernel", "median", "[least .. most]", "% of ceiling");
  for (const Limits limit : {Limits::memory, Limits::arithmetic}) {
    const double ceiling = best_ceiling(all, limit);
    const double unit = limit == Limits::memory ? 1e-9 : 1e-12;
    for (const Timed& each : all) {
      if (each.what.limit != limit) continue;
      const double rate = median(each.rates);
      const auto [least, most] = std::minmax_element(each.rates.begin(), each.rates.end());
      char span[64];
      std::snprintf(span, sizeof span, "[%.1f .. %.1f]", *least * unit, *most * unit);
      const bool cached = limit == Limits::memory && each.what.work < kBeyondCache;
      const Prediction* predicted = prediction_of(predictions, each.what.name);
      std::printf(
          "%-56s %10.1f   %-24s %.0f%s%s%s\n", each.what.name.c_str(), rate * unit, span,
          100 * rate / ceiling, each.what.is_ceiling ? " (the ceiling)" : "",
          cached ? " (fits the cache)" : "",
          predicted == nullptr
              ? ""
              : ("  " + beside(*predicted, measured_in(predicted->unit, each, ceiling))).c_str());
      append_row(options.rows, each, ceiling, predicted);
    }
    std::printf("%s; the ceiling is %.1f\n\n",
                limit == Limits::memory ? "GB/s read and written" : "TFLOP/s", ceiling * unit);
  }
}

// A check that has no room is no finding; after any other error the device may be lost.
int run_checks(Stream& stream, bool small) {
  int wrong = 0, right = 0, without_room = 0;
  for (const GpuCheck& each : gpu_checks(small)) {
    try {
      const Verdict verdict = verdict_of(stream, each);
      (verdict.wrong.empty() ? right : wrong) += 1;
      std::printf("%-5s %-64s %.1e%s%s\n", verdict.wrong.empty() ? "ok" : "WRONG",
                  each.name.c_str(), verdict.difference, verdict.wrong.empty() ? "" : "  ",
                  verdict.wrong.c_str());
    } catch (const Error& error) {
      std::printf("%-5s %-64s %s\n", error.kind() == ErrorKind::capacity ? "room" : "ERROR",
                  each.name.c_str(), error.what());
      if (error.kind() != ErrorKind::capacity) return 1;
      ++without_room;
    }
    std::fflush(stdout);
  }
  std::printf("%d right, %d wrong, %d without room\n", right, wrong, without_room);
  return wrong > 0 || right == 0 ? 1 : 0;
}

int run(const Options& options) {
  if (const std::string& problem = cuda_plugin().problem; !problem.empty()) {
    std::printf("SKIPPED: %s\n", problem.c_str());
    return 77;
  }
  const Predictions predictions =
      options.predictions.empty() ? Predictions{} : read_predictions(options.predictions);
  const Device gpu{Device::Kind::cuda};
  Stream stream(gpu);
  if (options.check) return run_checks(stream, options.small);
  const BenchSize size =
      options.small
          ? BenchSize{.rows = 256, .hidden = 64, .vocabulary = 512, .routed_rows = 256}
          : BenchSize{.rows = 16384, .hidden = 2048, .vocabulary = 32768, .routed_rows = 1 << 22};
  std::vector<GpuCase> cases = memory_cases(stream, size);
  for (auto make : {router_cases, arithmetic_cases, attention_cases})
    for (GpuCase& each : make(stream, size)) cases.push_back(std::move(each));
  if (options.once) {
    for (const GpuCase& each : cases) each.run();
    stream.synchronize();
    std::printf("%zu kernels, once each\n", cases.size());
    return 0;
  }
  const std::vector<Timed> all = timed(stream, std::move(cases), options.rounds);
  report(all, options, predictions);
  std::printf("%s, %s: %zu kernels, median of %d rounds\n",
              cuda_accelerator().facts(0).name.c_str(), cuda_accelerator().libraries().c_str(),
              all.size(), options.rounds);
  if (options.small) std::printf("--small: these all ran; their rates mean nothing\n");
  return 0;
}

Options options_of(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const auto value = [&] {
      check(i + 1 < argc, ErrorKind::usage, word, "needs a file");
      return std::string(argv[++i]);
    };
    if (word == "--small") {
      options.small = true;
    } else if (word == "--once") {
      options.once = true;
    } else if (word == "--check") {
      options.check = true;
    } else if (word == "--predictions") {
      options.predictions = value();
    } else if (word == "--rows") {
      options.rows = value();
    } else {
      options.rounds = std::atoi(word.c_str());
      check(options.rounds > 0, ErrorKind::usage, "no option and no number of rounds:", word);
    }
  }
  return options;
}

}  // namespace
}  // namespace tessera::bench

int main(int argc, char** argv) {
  try {
    return tessera::bench::run(tessera::bench::options_of(argc, argv));
  } catch (const tessera::Error& error) {
    std::fprintf(stderr, "bench_gpu_kernels: %s\n", error.what());
    return tessera::exit_code(error.kind());
  }
}
