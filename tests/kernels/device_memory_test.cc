// SPDX-License-Identifier: Apache-2.0
// A GPU's memory, streams and transfers, against the stand-in: the host cannot touch the memory,
// and a copy arrives only when it was waited for.
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/copy.h"
#include "kernels/cuda_plugin.h"
#include "kernels/elementwise.h"
#include "kernels/transfer.h"
#include "tests/support/stand_in.h"

namespace tessera::test {
namespace {

using testing::HasSubstr;

std::vector<float> numbers(int64_t count, float first = 1) {
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) values[i] = first + static_cast<float>(i);
  return values;
}

int64_t in_use(MemoryClass memory_class) {
  return memory_use(kStandIn).now[static_cast<size_t>(memory_class)];
}

TEST(DeviceMemoryDeathTest, IsOutOfTheHostsReach) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const Tensor x(kStandIn, DType::f32, {4});
  EXPECT_DEATH(*static_cast<volatile float*>(x.data()) = 1, "");
}

TEST(DeviceMemory, GoesThereAndBack) {
  Stream stream(kStandIn);
  std::vector<float> values = numbers(6);
  const Tensor x = uploaded(stream, values);
  values.assign(6, -1);  // the host's values may change at once
  scale(stream, x, 2, x);
  EXPECT_EQ(download<float>(stream, x), (std::vector<float>{2, 4, 6, 8, 10, 12}));
}

TEST(DeviceMemory, TransfersKeepPitches) {
  Stream stream(kStandIn), host(Device{});
  const Tensor from(Device{}, DType::f32, {3, 4}), to(Device{}, DType::f32, {3, 4});
  upload(host, numbers(12), from.flat().reshaped({12}));
  fill(host, 0, to);
  const Tensor device(kStandIn, DType::f32, {3, 6});
  upload(stream, from.column_slice(1, 2), device.column_slice(3, 2));
  download(stream, device.column_slice(3, 2), to.column_slice(0, 2));
  EXPECT_EQ(download<float>(host, to.reshaped({12})),
            (std::vector<float>{2, 3, 0, 0, 6, 7, 0, 0, 10, 11, 0, 0}));
}

TEST(DeviceMemory, AStartedDownloadArrivesWhenItIsWaitedFor) {
  Stream stream(kStandIn);
  const Tensor x = uploaded(stream, numbers(3));
  const Tensor out = staging_like(stream, x);
  start_download(stream, x, out);
  EXPECT_NE(out.as<float>()[0], 1) << "the stand-in keeps garbage there until somebody waits";
  scale(stream, x, 5, x);  // later in the stream: does not change what was asked for
  Event arrived(kStandIn);
  arrived.record(stream);
  EXPECT_FALSE(arrived.reached());
  arrived.synchronize();
  EXPECT_TRUE(arrived.reached());
  EXPECT_EQ(out.as<float>()[0], 1);
  EXPECT_EQ(out.as<float>()[2], 3);
}

TEST(DeviceMemory, AQueueOfItsOwnIsOrderedByEvents) {
  Stream stream(kStandIn), side(kStandIn, Stream::Queue::copies);
  EXPECT_NE(stream.queue(), side.queue());
  EXPECT_EQ(stream.queue(), Stream(kStandIn).queue()) << "a thread's streams are one queue";
  const Tensor x = uploaded(stream, numbers(3));
  Event ready(kStandIn);
  EXPECT_TRUE(ready.reached()) << "never recorded";
  ready.record(stream);
  ready.hold(side);
  EXPECT_EQ(download<float>(side, x), numbers(3));
  EXPECT_THROW(Event(Device{}).record(stream), Error);
}

TEST(DeviceMemory, OfTheHostHasTheSameCallsAndTakesNoCopies) {
  Stream host(Device{});
  const Tensor x = uploaded(host, numbers(3));
  EXPECT_EQ(on_host(host, x).data(), x.data());
  EXPECT_EQ(on_device(host, x, MemoryClass::other).data(), x.data());
  EXPECT_EQ(download<float>(host, x), numbers(3));
  Event before(Device{}, Timing::on), after(Device{}, Timing::on);
  before.record(host);
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
  after.record(host);
  EXPECT_GE(after.milliseconds_since(before), 1);
}

TEST(DevicePool, GivesAFreedBlockToTheSameThreadAgain) {
  const Stream stream(kStandIn);
  const void* first = Tensor(kStandIn, DType::f32, {1 << 20}).data();
  const int64_t allocations = memory_use(kStandIn).system_allocations;
  EXPECT_EQ(Tensor(kStandIn, DType::f32, {1 << 20}).data(), first);
  EXPECT_EQ(memory_use(kStandIn).system_allocations, allocations);

  // Another thread's work has another order: it must not get memory that is still in use there.
  const void* of_another = nullptr;
  std::thread([&] { of_another = Tensor(kStandIn, DType::f32, {1 << 20}).data(); }).join();
  EXPECT_NE(of_another, first);
  // The thread has ended, and its work with it.
  const Tensor mine(kStandIn, DType::f32, {1 << 20});
  EXPECT_EQ(Tensor(kStandIn, DType::f32, {1 << 20}).data(), of_another);
}

TEST(DevicePool, CountsByClass) {
  const int64_t before = in_use(MemoryClass::gradients);
  {
    const Tensor x(kStandIn, DType::f32, {1000}, MemoryClass::gradients);
    EXPECT_GE(in_use(MemoryClass::gradients) - before, 4000);
    EXPECT_LE(in_use(MemoryClass::gradients) - before, 4608);
  }
  EXPECT_EQ(in_use(MemoryClass::gradients), before);
}

TEST(DevicePool, GivesIdleBlocksBackBeforeItFails) {
  constexpr int64_t kMiB = int64_t{1} << 20;
  for (const int64_t mib : {16, 20, 24, 28, 32})  // more than there is, one after another
    Tensor(kStandIn, DType::f32, {mib * kMiB / 4});
  const Tensor held(kStandIn, DType::f32, {5 * kMiB}, MemoryClass::optimizer);
  try {
    Tensor(kStandIn, DType::f32, {15 * kMiB}, MemoryClass::activations);
    FAIL() << "80 MiB of 64";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::capacity);
    EXPECT_EQ(exit_code(error.kind()), 5);
    EXPECT_THAT(error.what(), HasSubstr("cuda:0 is out of memory: 0.05 GiB more for activations"));
    EXPECT_THAT(error.what(), HasSubstr("device has 0.06 GiB"));
    EXPECT_THAT(error.what(), HasSubstr("optimizer 0.01 GiB"));
  }
  const Tensor fits(kStandIn, DType::f32, {4 * kMiB});
}

}  // namespace
}  // namespace tessera::test
