// SPDX-License-Identifier: Apache-2.0
// `tessera bench gemm | attention | adamw`: the kernels that a dense decoder's step consists of, on
// one CPU or one GPU, beside what that could do at best.
#include <algorithm>
#include <cmath>

#include "kernels/attention.h"
#include "kernels/base/random.h"
#include "kernels/copy.h"
#include "kernels/gemm.h"
#include "kernels/transfer.h"
#include "kernels/update.h"
#include "launch/bench/bench.h"

namespace tessera {
namespace {

Tensor random_tensor(Stream& stream, DType dtype, int64_t rows, int64_t columns, const char* name) {
  Stream host{Device{}};
  const Tensor wide({}, DType::f32, {rows, columns});
  const Philox philox{1, stream_named(name)};
  for (int64_t i = 0; i < wide.size(); ++i)
    wide.as<float>()[i] = static_cast<float>(philox.uniform(static_cast<uint64_t>(i)) - 0.5);
  const Tensor tensor({}, dtype, {rows, columns});
  cast(host, wide, tensor);
  return on_device(stream, tensor, MemoryClass::other);
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

std::string sizes_of(const BenchCommand& command) {
  return "bench " + command.what + ": --batch " + std::to_string(command.batch) + " --sequence " +
         std::to_string(command.sequence);
}

// All operands at the same time, and one of them in f32 while it is drawn.
double gemm_bytes(int64_t rows, DType dtype) {
  const auto wide = static_cast<double>(size_of(DType::f32));
  double bytes = 0, largest = 0;
  for (const GemmShape& s : gemm_shapes(rows)) {
    const double a = static_cast<double>(s.m) * static_cast<double>(s.k);
    const double b = static_cast<double>(s.k) * static_cast<double>(s.n);
    const double c = static_cast<double>(s.m) * static_cast<double>(s.n);
    bytes += (a + b) * static_cast<double>(size_of(dtype)) + c * wide;
    largest = std::max({largest, a, b});
  }
  return bytes + largest * wide;
}

}  // namespace

int bench_gemm(const BenchCommand& command, DType dtype, Device device) {
  check_room(sizes_of(command), gemm_bytes(command.batch * command.sequence, dtype), device);
  Stream stream(device);
  std::vector<BenchCase> cases;
  for (const GemmShape& s : gemm_shapes(command.batch * command.sequence)) {
    const Tensor a =
        random_tensor(stream, dtype, s.transpose_a ? s.k : s.m, s.transpose_a ? s.m : s.k, "a");
    const Tensor b =
        random_tensor(stream, dtype, s.transpose_b ? s.n : s.k, s.transpose_b ? s.k : s.n, "b");
    const Tensor c(device, s.accumulate ? accumulation_type(dtype) : dtype, {s.m, s.n});
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
  Limit peak = flops_limit(device, dtype);
  run_rounds(stream, cases, command.rounds);
  report(command, device, cases, "GFLOP/s", &peak);
  return 0;
}

namespace {

struct AttentionShape {
  const char* name;
  int heads, kv_heads, qk_dim, v_dim;
};

}  // namespace

int bench_attention(const BenchCommand& command, DType dtype, Device device) {
  // Columns of q, k, v, their gradients, dout and out of the three shapes below, and rounding.
  constexpr double kColumns = 24'000;
  const int64_t rows = command.batch * command.sequence;
  check_room(sizes_of(command), static_cast<double>(rows * size_of(dtype)) * kColumns, device);
  Stream stream(device);
  std::vector<BenchCase> cases;
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
    const Tensor log_sum_exp(device, accumulation_type(dtype), {rows, s.heads});
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
  Limit peak = flops_limit(device, dtype);
  run_rounds(stream, cases, command.rounds);
  report(command, device, cases, "GFLOP/s", &peak);
  return 0;
}

int bench_adamw(const BenchCommand& command, DType dtype, Device device) {
  constexpr int64_t kParameters = 124'000'000;
  Stream stream(device);
  std::vector<Tensor> arrays;
  for (int i = 0; i < 4; ++i) {
    arrays.emplace_back(device, DType::f32, std::initializer_list<int64_t>{1, kParameters});
    fill(stream, 0.5, arrays.back());
  }
  const Tensor copy = dtype == DType::f32 ? arrays[1] : Tensor(device, dtype, {1, kParameters});
  const std::vector<AdamWPart> parts = {{arrays[0], arrays[1], arrays[2], arrays[3], copy}};
  const Tensor controls(device, DType::f64, {kNumControls});
  fill(stream, 1, controls);
  const double bytes_each = 28.0 + (dtype == DType::f32 ? 0 : static_cast<double>(size_of(dtype)));
  std::vector<BenchCase> cases = {{"AdamW, 124M parameters", bytes_each * kParameters,
                                   [&] { adamw_update(stream, AdamW{}, controls, parts); }}};
  Limit bandwidth = bandwidth_limit(stream);
  run_rounds(stream, cases, command.rounds);
  report(command, device, cases, "GB/s", &bandwidth);
  return 0;
}

}  // namespace tessera
