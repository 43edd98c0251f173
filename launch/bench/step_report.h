// SPDX-License-Identifier: Apache-2.0
// The report of `tessera bench step`, as text or as JSON.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "kernels/base/tensor.h"
#include "launch/bench/bench.h"
#include "trainer/model/options.h"

namespace tessera {

struct StepMeasured {
  ModelOptions model;
  Device device;
  Spread step;                                        // seconds, as all times here
  std::vector<std::pair<std::string, Spread>> parts;  // in the order of the step
  std::vector<double> graph_seconds;                  // both passes in one graph; may be empty
  MemoryUse memory;
  int64_t new_allocations = 0;  // of the system, in the steps that count
  double peak_flops = 0;        // per second; 0: not known
  std::string peak_words;       // Limit::words() of it
};
void report_step(const BenchCommand& command, const StepMeasured& measured);

}  // namespace tessera
