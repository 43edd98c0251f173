// SPDX-License-Identifier: Apache-2.0
#include "launch/report/gpu_peak.h"

#include <gtest/gtest.h>

namespace tessera {
namespace {

TEST(GpuPeak, IsFoundByTheDriversName) {
  EXPECT_EQ(published_peak_flops("NVIDIA H100 80GB HBM3", DType::bf16), 989e12);
  EXPECT_EQ(published_peak_flops("NVIDIA H100 PCIe", DType::bf16), 756e12);
  EXPECT_EQ(published_peak_flops("NVIDIA H200", DType::f16), 989e12);
  EXPECT_EQ(published_peak_flops("NVIDIA H200 NVL", DType::f16), 835e12);
  EXPECT_EQ(published_peak_flops("NVIDIA A100-SXM4-80GB", DType::bf16), 312e12);
}

TEST(GpuPeak, OfTf32IsHalfOfThat) {
  EXPECT_EQ(published_peak_flops("NVIDIA A100-SXM4-80GB", DType::f32, true), 156e12);
  EXPECT_EQ(published_peak_flops("NVIDIA H100 PCIe", DType::f32, true), 378e12);
  EXPECT_EQ(published_peak_flops("NVIDIA H100 PCIe", DType::bf16, true), 756e12);
}

TEST(GpuPeak, IsZeroWhereNobodyKnowsIt) {
  EXPECT_EQ(published_peak_flops("stand-in", DType::bf16), 0);
  EXPECT_EQ(published_peak_flops("NVIDIA H200", DType::f32), 0);
}

}  // namespace
}  // namespace tessera
