// SPDX-License-Identifier: Apache-2.0
// Ranges told to a profiler (tests/support/nvtx_tool), which needs no GPU: NVTX is headers that
// look for one at their first call. Without one, nobody listens.
#include "kernels/cuda/nvtx.h"

#include <cstdlib>
#include <string>

#include <dlfcn.h>
#include <gtest/gtest.h>

#include "kernels/base/trace.h"

namespace tessera::cuda {
namespace {

TEST(Nvtx, TellsAProfilerThatIsThere) {
  // Once in a process, as NVTX looks for it.
  ASSERT_EQ(setenv("NVTX_INJECTION64_PATH", TESSERA_NVTX_TOOL, 1), 0);
  {
    const trace::Range range("step", [] { return "too early"; });
  }
  tell_profilers_of_ranges();
  EXPECT_EQ(trace::audience.load(), trace::kListener);
  {
    const trace::Range step("step", [] { return "step_1"; });
    const trace::Range sum("comm", [] { return "sum"; });
  }
  {
    const trace::Range other("something else", [] { return "other"; });
  }
  void* tool = dlopen(TESSERA_NVTX_TOOL, RTLD_NOW | RTLD_NOLOAD);
  ASSERT_NE(tool, nullptr) << "NVTX did not open it";
  const auto heard = reinterpret_cast<const char* (*)()>(dlsym(tool, "tessera_nvtx_tool_heard"));
  EXPECT_STREQ(heard(), "tessera: 1=step 2=compute 3=comm 4=copy +1:step_1 +3:sum - - +0:other - ");
}

// In a process of its own, where NVTX has not looked yet.
TEST(NvtxDeathTest, WithoutAProfilerNobodyListens) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto listeners = [] {
    unsetenv("NVTX_INJECTION64_PATH");
    tell_profilers_of_ranges();
    std::exit(static_cast<int>(trace::audience.load()));
  };
  EXPECT_EXIT(listeners(), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace tessera::cuda
