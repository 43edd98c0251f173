// SPDX-License-Identifier: Apache-2.0
// Recorded work and the memory that it counts on, against the stand-in of a GPU.
#include "kernels/base/graph.h"

#include <optional>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/base/kept_memory.h"
#include "kernels/cuda_plugin.h"
#include "kernels/elementwise.h"
#include "kernels/transfer.h"
#include "tests/support/errors.h"
#include "tests/support/stand_in.h"

namespace tessera::test {
namespace {

using testing::HasSubstr;

using Floats = std::vector<float>;

struct Graphs : testing::Test {
  Stream stream{kStandIn};
  const Tensor x = uploaded(stream, Floats{1, 2, 3});
};

TEST_F(Graphs, DoAgainWhatWasRecorded) {
  const StandInCounts before = stand_in_counts();
  {
    const Graph twice(stream, [&] { scale(stream, x, 2, x); });
    EXPECT_EQ(download<float>(stream, x), (Floats{1, 2, 3})) << "recorded, not done";
    twice.launch(stream);
    twice.launch(stream);
    EXPECT_EQ(download<float>(stream, x), (Floats{4, 8, 12}));
    upload(stream, Floats{0, 1, 0}, x.reshaped({3}));
    twice.launch(stream);
    EXPECT_EQ(download<float>(stream, x), (Floats{0, 2, 0})) << "in the order of the stream";
    EXPECT_EQ(stand_in_counts().graphs_alive, before.graphs_alive + 1);
  }
  EXPECT_EQ(stand_in_counts().graphs_recorded, before.graphs_recorded + 1);
  EXPECT_EQ(stand_in_counts().graphs_launched, before.graphs_launched + 3);
  EXPECT_EQ(stand_in_counts().graphs_alive, before.graphs_alive);
}

TEST_F(Graphs, ReadAndWriteAddressesWhoeverHasThem) {
  const int64_t half = int64_t{1} << 20;
  auto out = std::make_unique<Tensor>(kStandIn, DType::f32, std::initializer_list<int64_t>{half});
  const void* address = out->data();
  const Graph graph(stream, [&] { scale(stream, x, 2, out->reshaped({half}).column_slice(0, 3)); });
  out.reset();
  const Tensor other(kStandIn, DType::f32, {half});
  ASSERT_EQ(other.data(), address) << "a freed block is used again";
  graph.launch(stream);
  EXPECT_EQ(download<float>(stream, other.reshaped({half}).column_slice(0, 3).reshaped({3})),
            (Floats{2, 4, 6}));
}

TEST_F(Graphs, RefuseWhatTheHostWouldHaveToBeThereFor) {
  const Tensor host = staging_like(stream, x), large(kStandIn, DType::f32, {5 << 18});
  Event event(kStandIn);
  const std::vector<std::pair<const char*, std::function<void()>>> all = {
      {"waiting for a stream", [&] { stream.synchronize(); }},
      {"a copy between the host and the device", [&] { download<float>(stream, x); }},
      {"a copy between the host and the device",
       [&] {
         upload(stream, Floats{1, 1, 1}, x);
       }},
      {"a copy between the host and the device", [&] { start_download(stream, x, host); }},
      {"an Event", [&] { event.record(stream); }},
      {"waiting for an Event", [&] { event.synchronize(); }},
      {"waiting for an Event", [&] { event.hold(stream); }},
      {"asking for an Event", [&] { (void)event.reached(); }},
      {"recording", [&] { Graph(stream, [] {}); }},
      {"more memory of the device", [&] { Tensor(kStandIn, DType::f32, {7 << 20}); }},
      {"more pinned memory of the host", [&] { staging_like(stream, large); }},
      {"not permitted when stream is capturing",
       [&] { cuda_accelerator().synchronize(stream.queue()); }}};  // as a kernel might
  for (const auto& [words, forbidden] : all) {
    const std::string error = error_of([&] { Graph(stream, forbidden); });
    EXPECT_THAT(error, HasSubstr(words));
    scale(stream, x, 1, x);
    EXPECT_EQ(download<float>(stream, x), (Floats{1, 2, 3})) << "the stream works as before";
  }
  EXPECT_THAT(error_of([&] { Graph(stream, [&] { stream.synchronize(); }); }),
              HasSubstr("internal: Graph: work that is recorded to be done again asked for"));
  Stream cpu(Device{});
  EXPECT_FALSE(Graph::possible(Device{}));
  EXPECT_THAT(error_of([&] { Graph(cpu, [] {}); }), HasSubstr("nothing can be recorded on cpu"));
}

TEST(KeptMemory, IsNobodyElses) {
  constexpr int64_t kElements = int64_t{1} << 20;  // a block of its own
  KeptMemory memory(kStandIn);
  const void* first = nullptr;
  {
    const KeptMemory::Use use(memory);
    const Tensor x(kStandIn, DType::f32, {kElements});
    first = x.data();
    EXPECT_EQ(memory.in_use(), 1);
  }
  EXPECT_EQ(memory.in_use(), 0);
  const Tensor outside(kStandIn, DType::f32, {kElements});
  EXPECT_NE(outside.data(), first);
  {
    const KeptMemory::Use use(memory);
    EXPECT_EQ(Tensor(kStandIn, DType::f32, {kElements}).data(), first);
  }
  std::optional<Tensor> longer;  // freed after the Use, it goes back to where it came from
  {
    const KeptMemory::Use use(memory);
    longer.emplace(kStandIn, DType::f32, std::initializer_list<int64_t>{kElements});
  }
  longer.reset();
  EXPECT_EQ(memory.in_use(), 0);
  EXPECT_NE(Tensor(kStandIn, DType::f32, {kElements}).data(), first);
}

TEST(KeptMemory, IsNotGivenBackToTheDeviceBeforeItEnds) {
  constexpr int64_t kMiB = int64_t{1} << 20;
  const auto take = [](int64_t mib) { Tensor(kStandIn, DType::f32, {mib * kMiB / 4}); };
  std::optional<KeptMemory> memory(kStandIn);
  const void* kept = nullptr;
  {
    const KeptMemory::Use use(*memory);
    kept = Tensor(kStandIn, DType::f32, {6 * kMiB}).data();
  }
  EXPECT_THAT(error_of([&] { take(48); }), HasSubstr("capacity: cuda:0 is out of memory"));
  {
    const KeptMemory::Use use(*memory);
    EXPECT_EQ(Tensor(kStandIn, DType::f32, {6 * kMiB}).data(), kept);
  }
  memory.reset();
  take(48);  // 24 of them were kept
}

TEST(KeptMemory, DoesNothingOnTheHostAndBelongsToItsThread) {
  const KeptMemory none(Device{}), mine(kStandIn);
  const KeptMemory::Use use(none);
  const Tensor x(kStandIn, DType::f32, {4});
  EXPECT_EQ(none.in_use(), 0);
  std::string error;
  std::thread([&] { error = error_of([&] { KeptMemory::Use other(mine); }); }).join();
  EXPECT_THAT(error, HasSubstr("used by another thread"));
}

}  // namespace
}  // namespace tessera::test
