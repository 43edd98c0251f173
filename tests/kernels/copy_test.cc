// SPDX-License-Identifier: Apache-2.0
#include "kernels/copy.h"

#include <cstdlib>

#include "tests/support/golden.h"

namespace tessera::test {
namespace {

const std::vector<DType> kFloating = {DType::f64, DType::f32, DType::bf16, DType::f16,
                                      DType::f8_e4m3};

// Numbers of every size a type may meet, and the values that break conversions.
Tensor awkward_f32() {
  std::vector<float> values = {0.0f,     -0.0f,     INFINITY, -INFINITY, NAN,
                               65504.0f, 65519.99f, 65520.0f, 3.4e38f,   1e-40f,
                               5.9e-8f,  2.98e-8f,  448.0f,   464.0f};
  const Philox philox{11, 0};
  for (uint64_t i = 0; values.size() < 1003; ++i)
    values.push_back(float_of(static_cast<uint32_t>(philox.bits(i))));
  const Tensor out(kCpu, DType::f32, {1, static_cast<int64_t>(values.size())});
  std::copy(values.begin(), values.end(), out.as<float>());
  return out;
}

TEST(Cast, OnEveryPathRoundsAsTheReference) {
  const Tensor wide = awkward_f32();
  const CpuPath best = cpu_path();
  for (const CpuPath path : {CpuPath::v2, CpuPath::v3, CpuPath::v4}) {
    if (path > best_cpu_path()) continue;
    set_cpu_path(path);
    for (const DType from : kFloating)
      for (const DType to : kFloating) {
        const Tensor in = converted(wide, kCpu, from), out(kCpu, to, {1, in.columns()});
        cast(cpu_stream(), in, out);
        const std::vector<double> actual = values_of(out),
                                  truth = values_of(converted(in, kCpu, to));
        for (size_t i = 0; i < actual.size(); ++i)
          EXPECT_TRUE(actual[i] == truth[i] || (std::isnan(actual[i]) && std::isnan(truth[i])))
              << name(from) << " to " << name(to) << ": " << actual[i] << " for " << truth[i];
      }
  }
  set_cpu_path(best);
}

TEST(Cast, GivesPyTorchsBits) {
  for (const auto& [key, dtype] : {std::pair{"bf16_rne", DType::bf16}, {"fp16_rne", DType::f16}}) {
    const auto& table = golden().at(key);
    const auto count = static_cast<int64_t>(table.at("x").size());
    const Tensor in(kCpu, DType::f32, {count}), out(kCpu, dtype, {count});
    for (int64_t i = 0; i < count; ++i)
      in.as<float>()[i] =
          std::strtof(table.at("x").at(static_cast<size_t>(i)).get<std::string>().c_str(), nullptr);
    cast(cpu_stream(), in, out);
    for (int64_t i = 0; i < count; ++i) {
      if (std::isnan(in.as<float>()[i])) continue;  // any NaN will do
      const auto bits =
          std::stoi(table.at("bits").at(static_cast<size_t>(i)).get<std::string>(), nullptr, 16);
      EXPECT_EQ(static_cast<const uint16_t*>(out.data())[i], bits) << in.as<float>()[i];
    }
  }
}

TEST(Copy, MovesSlicesAndLeavesTheirNeighbours) {
  const Tensor in = converted(normal(DType::bf16, 7, 37, 1), kCpu, DType::bf16, true);
  const Tensor whole(kCpu, DType::bf16, {7, 50});
  fill(cpu_stream(), 3, whole);
  copy(cpu_stream(), in, whole.column_slice(2, 37));
  EXPECT_EQ(bits_of(whole.column_slice(2, 37)), bits_of(in));
  EXPECT_EQ(values_of(whole.column_slice(0, 2)), std::vector<double>(14, 3.0));
  EXPECT_EQ(values_of(whole.column_slice(39, 11)), std::vector<double>(77, 3.0));
}

TEST(Transpose, SwapsRowsAndColumnsOfEveryType) {
  for (const DType dtype : kFloating) {
    const Tensor in = converted(normal(dtype, 67, 35, 2), kCpu, dtype, true);
    const Tensor out = sliced(kCpu, dtype, 35, 67), back(kCpu, dtype, {67, 35});
    transpose(cpu_stream(), in, out);
    transpose(cpu_stream(), out, back);
    EXPECT_EQ(bits_of(back), bits_of(in));
    EXPECT_EQ(values_of(out.row_slice(34, 1))[66], values_of(in.row_slice(66, 1))[34]);
  }
}

TEST(Fill, SetsIntegersToo) {
  const Tensor out(kCpu, DType::i64, {3, 3});
  fill(cpu_stream(), -5, out);
  for (int64_t i = 0; i < 9; ++i) EXPECT_EQ(out.as<int64_t>()[i], -5);
}

}  // namespace
}  // namespace tessera::test
