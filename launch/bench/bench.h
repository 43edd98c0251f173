// SPDX-License-Identifier: Apache-2.0
// What the benchmarks share: rounds that interleave their cases, medians with their spread, and one
// way to print them. Rates of a shared machine mean little alone; the limit beside them was
// measured in the same run, before and after, and the larger one counts.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "kernels/base/dtype.h"
#include "kernels/base/stream.h"
#include "launch/verb/verbs.h"

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
void run_rounds(Stream& stream, std::vector<BenchCase>& cases, int rounds);

// Until the stream's device has done it.
double seconds_of(Stream& stream, const std::function<void()>& work);

// What a device could do at best: the larger of two measurements, one at construction and one in
// value(), or a figure of its data sheet; 0 where there is none.
class Limit {
 public:
  Limit(std::string key, std::string words, std::function<double()> measure);
  double value();
  const std::string& key() const { return key_; }      // "peak", "bandwidth"
  const std::string& words() const { return words_; }  // "peak", "published peak of ..."

 private:
  std::string key_, words_;
  std::function<double()> measure_;
  double first_;
};
Limit flops_limit(Device device, DType dtype);  // a CPU's is measured, a GPU's is published
Limit bandwidth_limit(Stream& stream);          // measured

// unit: "GFLOP/s" or "GB/s"; limit: of the same per second, null: none.
void report(const BenchCommand& command, Device device, const std::vector<BenchCase>& cases,
            const std::string& unit, Limit* limit = nullptr);

// Of BenchCommand::compare, by case; of a step tokens/s. Empty where nothing is to be compared.
// Throws Error{usage} for a file that has nothing of the same benchmark in the same type.
std::map<std::string, double> earlier_medians(const BenchCommand& command);

// Throws Error{capacity} when `bytes`, which these sizes need on the device, are not free there.
void check_room(const std::string& sizes, double bytes, Device device);

int bench_gemm(const BenchCommand& command, DType dtype, Device device);
int bench_attention(const BenchCommand& command, DType dtype, Device device);
int bench_adamw(const BenchCommand& command, DType dtype, Device device);
int bench_all_reduce(const BenchCommand& command, DType dtype);
int bench_io(const BenchCommand& command, DType dtype);
int bench_step(const BenchCommand& command, DType dtype, Device device);

}  // namespace tessera
