// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <chrono>
#include <cstdio>

#include <nlohmann/json.hpp>

#include "kernels/cpu_path.h"
#include "kernels/peak.h"
#include "launch/bench.h"
#include "launch/format.h"

namespace tessera {

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Spread spread_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {values[values.size() / 2], values.front(), values.back()};
}

void run_rounds(std::vector<BenchCase>& cases, int rounds) {
  constexpr double kSecondsEach = 0.05;
  constexpr double kMostRuns = 10'000;
  for (BenchCase& each : cases) {
    each.run();
    const double once = std::max(1e-7, seconds_of(each.run));
    const auto runs = static_cast<int>(std::clamp(kSecondsEach / once, 1.0, kMostRuns));
    each.seconds.assign(1, runs);  // replaced below
  }
  std::vector<int> runs;
  for (BenchCase& each : cases) {
    runs.push_back(static_cast<int>(each.seconds.front()));
    each.seconds.clear();
  }
  for (int round = 0; round < rounds; ++round)
    for (size_t i = 0; i < cases.size(); ++i)
      cases[i].seconds.push_back(seconds_of([&] {
                                   for (int run = 0; run < runs[i]; ++run) cases[i].run();
                                 }) /
                                 runs[i]);
}

Limit::Limit(std::function<double()> measure) : measure_(std::move(measure)), first_(measure_()) {}
double Limit::value() {
  return std::max(first_, measure_());
}

Limit peak_flops(DType dtype) {
  return Limit([dtype] { return measure_peak_flops(dtype, cpu_threads()); });
}

void report(const BenchCommand& command, const std::vector<BenchCase>& cases,
            const std::string& unit, double limit, const std::string& limit_name) {
  constexpr double kGiga = 1e-9;
  nlohmann::ordered_json json = {{"benchmark", command.what},
                                 {"dtype", command.dtype},
                                 {"path", name(cpu_path())},
                                 {"threads", cpu_threads()},
                                 {"unit", unit}};
  if (limit > 0) json[limit_name] = limit * kGiga;
  std::vector<std::vector<std::string>> rows = {{command.what, unit, "least", "most"}};
  if (limit > 0) rows.front().push_back("% of " + limit_name);
  for (const BenchCase& each : cases) {
    const Spread time = spread_of(each.seconds);
    const double rate = each.work / time.median * kGiga, least = each.work / time.most * kGiga,
                 most = each.work / time.least * kGiga;
    const int decimals = rate < 100 ? 1 : 0;
    rows.push_back(
        {each.name, fixed(rate, decimals), fixed(least, decimals), fixed(most, decimals)});
    json["cases"].push_back(
        {{"name", each.name}, {"median", rate}, {"least", least}, {"most", most}});
    if (limit > 0) rows.back().push_back(fixed(100 * rate / (limit * kGiga), 0));
  }
  if (command.json) {
    std::printf("%s\n", json.dump().c_str());
    return;
  }
  std::fputs(table(rows).c_str(), stdout);
  std::printf("%s, %s, %d threads, median of %d rounds", command.dtype.c_str(), name(cpu_path()),
              cpu_threads(), command.rounds);
  if (limit > 0) std::printf("; %s %.0f %s", limit_name.c_str(), limit * kGiga, unit.c_str());
  std::printf("\n");
}

}  // namespace tessera
