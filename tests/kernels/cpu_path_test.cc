// SPDX-License-Identifier: Apache-2.0
// Run by itself, and under qemu as an older processor (tests/kernels/CMakeLists.txt): whatever path
// this machine takes must work.
#include "kernels/cpu_path.h"

#include <cstdlib>

#include "kernels/elementwise.h"
#include "kernels/gemm.h"
#include "kernels/norm.h"
#include "tests/support/numeric.h"

namespace tessera::test {
namespace {

TEST(CpuPath, NamesAndBack) {
  for (const CpuPath path : {CpuPath::v2, CpuPath::v3, CpuPath::v4, CpuPath::v4_bf16})
    EXPECT_EQ(cpu_path_named(name(path)), path);
  EXPECT_FALSE(cpu_path_named("v5").has_value());
}

TEST(CpuPath, IsTheOneAskedFor) {
  const char* const expected = std::getenv("TESSERA_EXPECTED_PATH");
  if (expected == nullptr) GTEST_SKIP() << "TESSERA_EXPECTED_PATH is not set";
  EXPECT_STREQ(name(best_cpu_path()), expected);
}

TEST(CpuPath, EveryPathOfThisMachineComputes) {
  for (const CpuPath path : {CpuPath::v2, CpuPath::v3, CpuPath::v4, CpuPath::v4_bf16}) {
    if (path > best_cpu_path()) {
      EXPECT_THROW(set_cpu_path(path), Error);
      continue;
    }
    set_cpu_path(path);
    for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
      const Tensor a = normal(dtype, 20, 19, 1), b = normal(dtype, 19, 20, 2);
      const Tensor truth(kReference, DType::f64, {20, 20}), c(kCpu, dtype, {20, 20});
      gemm(reference_stream(), {.a = a, .b = b, .c = truth});
      gemm(cpu_stream(), {.a = converted(a, kCpu, dtype), .b = converted(b, kCpu, dtype), .c = c});
      expect_close(c, truth, dtype, name(path));
      const Tensor y(kReference, DType::f64, {20, 20}), z(kCpu, dtype, {20, 20});
      const Tensor exact = converted(c, kReference, DType::f64);
      swiglu(reference_stream(), exact, exact, y);
      swiglu(cpu_stream(), c, c, z);
      expect_close(z, y, dtype, name(path));
    }
  }
  set_cpu_path(best_cpu_path());
}

}  // namespace
}  // namespace tessera::test
