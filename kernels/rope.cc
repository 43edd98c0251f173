// SPDX-License-Identifier: Apache-2.0
#include "kernels/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/arguments.h"
#include "kernels/backend.h"
#include "kernels/transfer.h"

namespace tessera {

void rope(Stream& stream, const Rope& rope, const Tensor& positions, const Tensor& table,
          const Tensor& x) {
  const Arguments arguments(stream, "rope:");
  arguments.on_device({{"positions", positions}, {"table", table}, {"x", x}});
  arguments.computable({"x", x});
  arguments.holds(rope.rotary_dim >= 0 && rope.rotary_dim % 2 == 0, "an even rotary_dim");
  arguments.holds(rope.offset >= 0 && rope.offset + rope.rotary_dim <= rope.head_dim,
                  "offset + rotary_dim <= head_dim");
  arguments.matrix({"x", x}, x.rows(), int64_t{rope.num_heads} * rope.head_dim);
  arguments.vector({"positions", positions}, x.rows());
  arguments.of_type({"positions", positions}, DType::i32);
  arguments.matrix({"table", table}, table.rows(), rope.rotary_dim);
  arguments.of_type({"table", table}, accumulation_type(x.dtype()));
  stream.backend().rope(stream, rope, positions, table, x);
}

std::vector<double> rope_inverse_frequencies(int rotary_dim, double theta) {
  check(rotary_dim >= 0 && rotary_dim % 2 == 0, "rope: rotary_dim must be even, got", rotary_dim);
  std::vector<double> frequencies(static_cast<size_t>(rotary_dim / 2));
  for (size_t pair = 0; pair < frequencies.size(); ++pair)
    frequencies[pair] = std::pow(theta, -2.0 * static_cast<double>(pair) / rotary_dim);
  return frequencies;
}

std::vector<double> yarn_inverse_frequencies(int rotary_dim, double theta, const Yarn& yarn) {
  std::vector<double> frequencies = rope_inverse_frequencies(rotary_dim, theta);
  const auto last = static_cast<double>(rotary_dim - 1);
  // The pair that turns `turns` times in the original length.
  const auto pair_of = [&](double turns) {
    const double length = static_cast<double>(yarn.original_length);
    return rotary_dim * std::log(length / (turns * 2 * std::numbers::pi)) / (2 * std::log(theta));
  };
  const double low = std::clamp(std::floor(pair_of(yarn.beta_fast)), 0.0, last);
  const double high = std::clamp(std::ceil(pair_of(yarn.beta_slow)), 0.0, last);
  constexpr double kShortest = 0.001;  // a ramp of no length would divide by zero
  const double length = std::max(high - low, kShortest);
  for (size_t pair = 0; pair < frequencies.size(); ++pair) {
    const double slowed = std::clamp((static_cast<double>(pair) - low) / length, 0.0, 1.0);
    frequencies[pair] *= slowed / yarn.factor + (1 - slowed);
  }
  return frequencies;
}

double yarn_attention_factor(double factor, double mscale) {
  return factor <= 1 ? 1 : 0.1 * mscale * std::log(factor) + 1;
}

Tensor rope_table(Device device, DType dtype, const std::vector<double>& inverse_frequencies,
                  int64_t max_positions, double amplitude) {
  check(dtype == DType::f64 || dtype == DType::f32, "rope_table: wants f64 or f32, got",
        name(dtype));
  const auto pairs = static_cast<int64_t>(inverse_frequencies.size());
  Tensor table(device, dtype, {max_positions, 2 * pairs}, MemoryClass::weights);
  if (device.kind == Device::Kind::dry) return table;
  const auto write = [&](const Tensor& host, auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (std::is_floating_point_v<T>) {
      for (int64_t position = 0; position < max_positions; ++position) {
        T* row = host.row<T>(position);
        for (int64_t pair = 0; pair < pairs; ++pair) {
          const double angle =
              static_cast<double>(position) * inverse_frequencies[static_cast<size_t>(pair)];
          row[pair] = static_cast<T>(amplitude * std::cos(angle));
          row[pairs + pair] = static_cast<T>(amplitude * std::sin(angle));
        }
      }
    }
  };
  Stream stream(device);
  write_from_host(stream, table,
                  [&](const Tensor& host) { visit(dtype, [&](auto tag) { write(host, tag); }); });
  return table;
}

}  // namespace tessera
