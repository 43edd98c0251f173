// SPDX-License-Identifier: Apache-2.0
// The CUDA runtime itself, on a GPU: memory, copies, events. Skipped, and counted as such, where
// there is none.
#include <gtest/gtest.h>

#include "kernels/base/trace.h"
#include "kernels/copy.h"
#include "kernels/cuda_plugin.h"
#include "kernels/transfer.h"

namespace tessera::test {
namespace {

constexpr Device kGpu{Device::Kind::cuda};

struct CudaRuntime : testing::Test {
  void SetUp() override {
    if (!cuda_plugin().problem.empty()) GTEST_SKIP() << cuda_plugin().problem;
  }
};

TEST_F(CudaRuntime, KnowsItsDevices) {
  const DeviceFacts facts = cuda_accelerator().facts(0);
  EXPECT_FALSE(facts.name.empty());
  EXPECT_GE(facts.capability_major, 8) << "older ones have no bf16";
  EXPECT_GT(facts.multiprocessors, 0);
  EXPECT_LE(cuda_accelerator().memory(0).free, facts.memory_bytes);
}

TEST_F(CudaRuntime, MovesValuesThereAndBack) {
  Stream stream(kGpu);
  std::vector<float> values(1 << 20);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  const Tensor x = uploaded(stream, values);
  EXPECT_EQ(download<float>(stream, x), values);
  const Tensor column = x.reshaped({1 << 10, 1 << 10}).column_slice(3, 1);
  const Tensor host(Device{}, DType::f32, {1 << 10, 1});
  download(stream, column, host);
  for (int64_t row = 0; row < host.rows(); ++row)
    ASSERT_EQ(*host.row<float>(row), static_cast<float>(row * 1024 + 3));
}

TEST_F(CudaRuntime, TimesWhatIsQueuedBetweenEvents) {
  Stream stream(kGpu);
  Event before(kGpu, Timing::on), after(kGpu, Timing::on);
  before.record(stream);
  const Tensor x = uploaded(stream, std::vector<float>(1 << 22));
  after.record(stream);
  after.synchronize();
  EXPECT_TRUE(before.reached());
  EXPECT_GT(after.milliseconds_since(before), 0);
}

TEST_F(CudaRuntime, ATraceHasItsWorkOnTheHostsClock) {
  constexpr int64_t kError = 200'000;  // nanoseconds: ten times what seeing an event takes
  Stream stream(kGpu);
  const Tensor x(kGpu, DType::f32, {1 << 24});
  trace::start(kGpu);
  const int64_t before = trace::now_ns();
  {
    const trace::Range range(stream, "compute", [] { return "fills"; });
    for (int i = 0; i < 100; ++i) fill(stream, 1, x);
  }
  const int64_t queued = trace::now_ns();
  stream.synchronize();
  const int64_t after = trace::now_ns();
  for (const trace::Event& event : trace::stop()) {
    EXPECT_EQ(event.name, "fills");
    if (!event.queue) {
      EXPECT_LE(event.end_ns, queued);
      continue;
    }
    EXPECT_GE(event.begin_ns, before - kError);
    EXPECT_LE(event.end_ns, after + kError);
    EXPECT_GT(event.end_ns - event.begin_ns, (after - before) / 2) << "the GPU did little else";
  }
}

TEST_F(CudaRuntime, SaysWhatTheMemoryIsUsedForWhenThereIsNoMore) {
  std::vector<Tensor> all;
  const int64_t bytes = int64_t{1} << 30;
  try {
    for (int64_t i = 0; i < cuda_accelerator().facts(0).memory_bytes / bytes + 1; ++i)
      all.emplace_back(kGpu, DType::f32, std::initializer_list<int64_t>{bytes / 4},
                       MemoryClass::weights);
    FAIL() << "more than the device has";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::capacity);
    EXPECT_NE(std::string(error.what()).find("weights"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace tessera::test
