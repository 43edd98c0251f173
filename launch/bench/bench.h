// SPDX-License-Identifier: Apache-2.0
// What the benchmarks share: rounds that interleave their cases, medians with their spread, and one
// way to print them. Rates of a shared machine mean little alone; the limit beside them was
// measured in the same run, before and after, and the larger one counts.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "kernels/base/dtype.h"
#include "kernels/base/stream.h"

namespace tessera {

struct BenchCommand {
  std::string what;            // gemm | attention | adamw | allreduce | io | step
  std::string dtype = "bf16";  // f32 | bf16 | f16 | tf32: f32 with precision.tf32 (gemm, step)
  std::string device = "cpu";  // cpu | cuda
  // For `gemm`, `attention` and `step`; shaped: one of them was asked for.
  int64_t batch = 4;
  int64_t sequence = 1024;
  bool shaped = false;
  int rounds = 5;
  // For `bench step`: the microbatches of each step, every one of `batch` sequences.
  int64_t microbatches = 1;
  // For `step`: an empty recipe means a dense decoder of 124M parameters.
  std::string recipe;
  std::vector<std::string> overrides;
  // For `bench io`: the directory to write to (default: the current one) and the MiB written by
  // each rank (default: 256).
  std::string directory;
  int64_t mebibytes = 0;
  std::string compare;  // a file that --json wrote before; empty: none
  bool json = false;
};

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
