// SPDX-License-Identifier: Apache-2.0
// What the benchmarks share: rounds that interleave their cases, medians with their spread, and one
// way to print them. Rates of a shared machine mean little alone; the limit beside them was
// measured in the same run, before and after, and the larger one counts.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "kernels/base/dtype.h"
#include "launch/verbs.h"

namespace tessera {

struct Spread {
  double median = 0, least = 0, most = 0;
};
Spread spread_of(std::vector<double> values);

// Something to be timed. work: flops or bytes of one run.
struct BenchCase {
  std::string name;
  double work = 0;
  std::function<void()> run;
  std::vector<double> seconds = {};  // of one run, round by round
};
// Each round times every case once (short ones several times in a row); the first, which is not
// counted, warms up.
void run_rounds(std::vector<BenchCase>& cases, int rounds);

double seconds_of(const std::function<void()>& work);

// The larger of two measurements of the limit, one at construction and one in value().
class Limit {
 public:
  explicit Limit(std::function<double()> measure);
  double value();

 private:
  std::function<double()> measure_;
  double first_;
};
Limit peak_flops(DType dtype);

// unit: "GFLOP/s" or "GB/s"; limit: of the same per second, 0: none.
void report(const BenchCommand& command, const std::vector<BenchCase>& cases,
            const std::string& unit, double limit, const std::string& limit_name);

int bench_step(const BenchCommand& command, DType dtype);  // bench_step.cc

}  // namespace tessera
