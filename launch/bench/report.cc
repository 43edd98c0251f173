// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <chrono>
#include <cstdio>

#include <nlohmann/json.hpp>

#include "kernels/copy.h"
#include "kernels/cpu_path.h"
#include "kernels/cuda_plugin.h"
#include "kernels/peak.h"
#include "launch/bench/bench.h"
#include "launch/job/device_choice.h"
#include "launch/report/format.h"
#include "launch/report/gpu_peak.h"

namespace tessera {

double seconds_of(Stream& stream, const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  stream.synchronize();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Spread spread_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {values[values.size() / 2], values.front(), values.back()};
}

void run_rounds(Stream& stream, std::vector<BenchCase>& cases, int rounds) {
  constexpr double kSecondsEach = 0.05;
  constexpr double kMostRuns = 10'000;
  for (BenchCase& each : cases) {
    seconds_of(stream, each.run);
    const double once = std::max(1e-7, seconds_of(stream, each.run));
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
      cases[i].seconds.push_back(seconds_of(stream,
                                            [&] {
                                              for (int run = 0; run < runs[i]; ++run)
                                                cases[i].run();
                                            }) /
                                 runs[i]);
}

Limit::Limit(std::string key, std::string words, std::function<double()> measure)
    : key_(std::move(key)),
      words_(std::move(words)),
      measure_(std::move(measure)),
      first_(measure_()) {}
double Limit::value() {
  return std::max(first_, measure_());
}

Limit flops_limit(Device device, DType dtype) {
  if (device.is_host())
    return Limit("peak", "peak", [dtype] { return measure_peak_flops(dtype, cpu_threads()); });
  const std::string gpu = cuda_accelerator().facts(device.index).name;
  const bool tf32 = cuda_accelerator().tf32(device.index);
  return Limit("peak", "published peak of " + gpu,
               [=] { return published_peak_flops(gpu, dtype, tf32); });
}

// A CPU's of an AdamW-shaped pass, a GPU's of a copy: either reads and writes what no cache holds.
Limit bandwidth_limit(Stream& stream) {
  if (stream.device().is_host())
    return Limit("bandwidth", "bandwidth", [] { return measure_bandwidth(cpu_threads()); });
  constexpr int64_t kBytes = int64_t{256} << 20;
  constexpr int kTimes = 10;
  const Tensor from(stream.device(), DType::f32, {kBytes / 4}, MemoryClass::other);
  const Tensor to(stream.device(), DType::f32, {kBytes / 4}, MemoryClass::other);
  fill(stream, 1, from);
  return Limit("bandwidth", "bandwidth of a copy", [&stream, from, to] {
    stream.synchronize();
    return 2 * kTimes * static_cast<double>(kBytes) / seconds_of(stream, [&] {
             for (int i = 0; i < kTimes; ++i) copy(stream, from, to);
           });
  });
}

void report(const BenchCommand& command, Device device, const std::vector<BenchCase>& cases,
            const std::string& unit, Limit* held_against) {
  constexpr double kGiga = 1e-9;
  const double limit = held_against != nullptr ? held_against->value() : 0;
  nlohmann::ordered_json json = {{"benchmark", command.what},  {"dtype", command.dtype},
                                 {"device", describe(device)}, {"path", name(cpu_path())},
                                 {"threads", cpu_threads()},   {"unit", unit}};
  if (limit > 0) json[held_against->key()] = limit * kGiga;
  std::vector<std::vector<std::string>> rows = {{command.what, unit, "least", "most"}};
  if (limit > 0) rows.front().push_back("% of " + held_against->key());
  const std::map<std::string, double> earlier = earlier_medians(command);
  if (!earlier.empty()) rows.front().insert(rows.front().end(), {"before", "ratio"});
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
    const auto before = earlier.find(each.name);
    if (before == earlier.end()) continue;
    rows.back().insert(rows.back().end(),
                       {fixed(before->second, decimals), fixed(rate / before->second, 3)});
    json["cases"].back()["before"] = before->second;
    json["cases"].back()["ratio"] = rate / before->second;
  }
  if (command.json) {
    std::printf("%s\n", json.dump().c_str());
    return;
  }
  std::fputs(table(rows).c_str(), stdout);
  std::printf("%s, %s, median of %d rounds", command.dtype.c_str(), describe(device).c_str(),
              command.rounds);
  if (limit > 0)
    std::printf("; %s %s %s", held_against->words().c_str(),
                fixed(limit * kGiga, limit * kGiga < 10 ? 1 : 0).c_str(), unit.c_str());
  else if (held_against != nullptr)
    std::printf("; %s: not known for %s", held_against->words().c_str(), command.dtype.c_str());
  std::printf("\n");
}

}  // namespace tessera
