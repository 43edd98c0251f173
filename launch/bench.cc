// SPDX-License-Identifier: Apache-2.0
// `tessera bench`: the kernels and collectives on this machine, beside what it could do at best.
#include "launch/bench.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <numeric>

#include <nlohmann/json.hpp>

#include "kernels/attention.h"
#include "kernels/base/check.h"
#include "kernels/base/random.h"
#include "kernels/copy.h"
#include "kernels/cpu_path.h"
#include "kernels/gemm.h"
#include "kernels/peak.h"
#include "kernels/update.h"
#include "launch/format.h"
#include "parallel/world.h"

namespace tessera {
namespace {

Tensor random_tensor(Stream& stream, DType dtype, int64_t rows, int64_t columns, const char* name) {
  const Tensor wide({}, DType::f32, {rows, columns});
  const Philox philox{1, stream_named(name)};
  for (int64_t i = 0; i < wide.size(); ++i)
    wide.as<float>()[i] = static_cast<float>(philox.uniform(static_cast<uint64_t>(i)) - 0.5);
  const Tensor tensor({}, dtype, {rows, columns});
  cast(stream, wide, tensor);
  return tensor;
}

struct GemmShape {
  const char* name;
  int64_t m, n, k;
  bool transpose_a, transpose_b, accumulate;
};

// The shapes of a decoder with `rows` token positions, hidden 768, and of small experts.
std::vector<GemmShape> gemm_shapes(int64_t rows) {
  return {{"qkv", rows, 2304, 768, false, true, false},
          {"output", rows, 768, 768, false, true, false},
          {"gate + up", rows, 4096, 768, false, true, false},
          {"down", rows, 768, 2048, false, true, false},
          {"gate + up, d input", rows, 768, 4096, false, false, false},
          {"gate + up, d weight", 4096, 768, rows, true, false, true},
          {"head", std::min<int64_t>(rows, 1024), 50304, 768, false, true, false},
          {"expert", 256, 512, 512, false, true, false},
          {"expert", 64, 512, 512, false, true, false},
          {"expert", 16, 512, 512, false, true, false},
          {"generation", 1, 2304, 768, false, true, false}};
}

int bench_gemm(const BenchCommand& command, DType dtype) {
  Stream stream{Device{}};
  std::vector<BenchCase> cases;
  for (const GemmShape& s : gemm_shapes(command.batch * command.sequence)) {
    const Tensor a =
        random_tensor(stream, dtype, s.transpose_a ? s.k : s.m, s.transpose_a ? s.m : s.k, "a");
    const Tensor b =
        random_tensor(stream, dtype, s.transpose_b ? s.n : s.k, s.transpose_b ? s.k : s.n, "b");
    const Tensor c({}, s.accumulate ? accumulation_type(dtype) : dtype, {s.m, s.n});
    fill(stream, 0, c);
    const std::string layout = {s.transpose_a ? 't' : 'n', s.transpose_b ? 't' : 'n'};
    cases.push_back(
        {std::to_string(s.m) + " x " + std::to_string(s.n) + " x " + std::to_string(s.k) + " " +
             layout + " " + s.name,
         2.0 * static_cast<double>(s.m) * static_cast<double>(s.n) * static_cast<double>(s.k),
         [&stream, s, a, b, c] {
           gemm(stream, {.a = a,
                         .b = b,
                         .c = c,
                         .transpose_a = s.transpose_a,
                         .transpose_b = s.transpose_b,
                         .accumulate = s.accumulate});
         }});
  }
  Limit peak = peak_flops(dtype);
  run_rounds(cases, command.rounds);
  report(command, cases, "GFLOP/s", peak.value(), "peak");
  return 0;
}

struct AttentionShape {
  const char* name;
  int heads, kv_heads, qk_dim, v_dim;
};

int bench_attention(const BenchCommand& command, DType dtype) {
  Stream stream{Device{}};
  std::vector<BenchCase> cases;
  const int64_t rows = command.batch * command.sequence;
  for (const AttentionShape& s : {AttentionShape{"12 heads of 64", 12, 12, 64, 64},
                                  AttentionShape{"8 heads of 128, 2 shared", 8, 2, 128, 128},
                                  AttentionShape{"8 heads, qk 192, v 128", 8, 8, 192, 128}}) {
    const Attention shape{.num_heads = s.heads,
                          .num_kv_heads = s.kv_heads,
                          .qk_dim = s.qk_dim,
                          .v_dim = s.v_dim,
                          .scale = 1 / std::sqrt(static_cast<double>(s.qk_dim)),
                          .num_sequences = command.batch,
                          .query_length = command.sequence,
                          .key_length = command.sequence};
    const auto part = [&](int heads, int dim, const char* name) {
      return random_tensor(stream, dtype, rows, int64_t{heads} * dim, name);
    };
    const Tensor q = part(s.heads, s.qk_dim, "q"), k = part(s.kv_heads, s.qk_dim, "k"),
                 v = part(s.kv_heads, s.v_dim, "v"), dout = part(s.heads, s.v_dim, "dout"),
                 out = part(s.heads, s.v_dim, "out");
    const AttentionGradients gradients{part(s.heads, s.qk_dim, "q"),
                                       part(s.kv_heads, s.qk_dim, "k"),
                                       part(s.kv_heads, s.v_dim, "v")};
    const Tensor log_sum_exp({}, accumulation_type(dtype), {rows, s.heads});
    // The causal half: position p sees p + 1 keys.
    const double pairs =
        static_cast<double>(rows) * s.heads * static_cast<double>(command.sequence + 1) / 2;
    cases.push_back({std::string("forward, ") + s.name, 2 * pairs * (s.qk_dim + s.v_dim),
                     [=, &stream] { attention(stream, shape, q, k, v, {}, out, log_sum_exp); }});
    cases.push_back({std::string("backward, ") + s.name, 2 * pairs * (3 * s.qk_dim + 2 * s.v_dim),
                     [=, &stream] {
                       attention_backward(stream, shape, q, k, v, {}, out, log_sum_exp, dout,
                                          gradients);
                     }});
  }
  Limit peak = peak_flops(dtype);
  run_rounds(cases, command.rounds);
  report(command, cases, "GFLOP/s", peak.value(), "peak");
  return 0;
}

int bench_adamw(const BenchCommand& command, DType dtype) {
  constexpr int64_t kParameters = 124'000'000;
  Stream stream{Device{}};
  std::vector<Tensor> arrays;
  for (int i = 0; i < 4; ++i) {
    arrays.emplace_back(Device{}, DType::f32, std::initializer_list<int64_t>{1, kParameters});
    fill(stream, 0.5, arrays.back());
  }
  const Tensor copy = dtype == DType::f32 ? arrays[1] : Tensor({}, dtype, {1, kParameters});
  const std::vector<AdamWPart> parts = {{arrays[0], arrays[1], arrays[2], arrays[3], copy}};
  const Tensor controls({}, DType::f64, {kNumControls});
  fill(stream, 1, controls);
  const double bytes_each = 28.0 + (dtype == DType::f32 ? 0 : static_cast<double>(size_of(dtype)));
  std::vector<BenchCase> cases = {{"AdamW, 124M parameters", bytes_each * kParameters,
                                   [&] { adamw_update(stream, AdamW{}, controls, parts); }}};
  Limit bandwidth([] { return measure_bandwidth(cpu_threads()); });
  run_rounds(cases, command.rounds);
  report(command, cases, "GB/s", bandwidth.value(), "bandwidth");
  return 0;
}

// Times every case once a round, after a barrier: every rank must run the same number of times.
void run_together(const World& world, std::vector<BenchCase>& cases, int rounds) {
  for (int round = 0; round <= rounds; ++round)
    for (BenchCase& each : cases) {
      world.all().barrier();
      const double seconds = seconds_of(each.run);
      if (round > 0) each.seconds.push_back(seconds);
    }
}

int bench_all_reduce(const BenchCommand& command, DType dtype) {
  World world;
  Stream stream{Device{}};
  std::vector<int> everyone(static_cast<size_t>(world.size()));
  std::iota(everyone.begin(), everyone.end(), 0);
  const auto best = world.group(everyone, "best"), mpi = world.mpi_group(everyone, "mpi");
  std::vector<BenchCase> large, small;
  const auto reduce = [&](Communicator& all, int64_t bytes, int times) {
    const Tensor buffer({}, dtype, {bytes / size_of(dtype)}, MemoryClass::communication);
    fill(stream, 0, buffer);
    return [&stream, &all, buffer, times] {
      for (int i = 0; i < times; ++i) all.all_reduce(stream, buffer, buffer, Reduce::sum, "bench");
    };
  };
  const auto title = [&](const std::string& size, const Communicator& all) {
    return size + ", " + std::to_string(world.size()) + " ranks, " + all.transport();
  };
  constexpr int kTimes = 100;
  constexpr double kPerMillisecond = 1e6;  // of the giga that report() shows
  for (Communicator* all : {best.get(), mpi.get()}) {
    for (const int64_t mebibytes : {1, 16, 64})
      large.push_back({title(std::to_string(mebibytes) + " MiB", *all),
                       static_cast<double>(mebibytes << 20), reduce(*all, mebibytes << 20, 1)});
    small.push_back(
        {title("4 KiB", *all), kTimes * kPerMillisecond, reduce(*all, 4 << 10, kTimes)});
  }
  run_together(world, large, command.rounds);
  run_together(world, small, command.rounds);
  if (world.rank() != 0) return 0;
  report(command, large, "GB/s", 0, "");
  report(command, small, "calls/ms", 0, "");
  return 0;
}

}  // namespace

int bench_verb(const BenchCommand& command) {
  const bool tf32 = command.dtype == "tf32";
  const DType dtype = tf32 || command.dtype == "f32" ? DType::f32
                      : command.dtype == "f16"       ? DType::f16
                                                     : DType::bf16;
  check(command.what == "step" || (command.device == "cpu" && command.recipe.empty() && !tf32),
        ErrorKind::usage, "--device, tf32 and a recipe are for `tessera bench step`;", command.what,
        "measures this machine's CPU");
  if (command.what == "gemm") return bench_gemm(command, dtype);
  if (command.what == "attention") return bench_attention(command, dtype);
  if (command.what == "adamw") return bench_adamw(command, dtype);
  if (command.what == "allreduce") return bench_all_reduce(command, dtype);
  return bench_step(command, dtype);
}

}  // namespace tessera
