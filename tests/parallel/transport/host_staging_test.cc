// SPDX-License-Identifier: Apache-2.0
// Every collective on tensors that the host cannot touch, beside the same one on the host.
#include "parallel/transport/host_staging.h"

#include <gtest/gtest.h>

#include "kernels/transfer.h"
#include "tests/support/rank_world.h"
#include "tests/support/stand_in.h"

namespace tessera::test {
namespace {

struct HostStaging : testing::Test {
  Communicator& over = world().all();
  std::unique_ptr<Communicator> staged = host_staging_communicator(over);
  const int rank = over.rank(), size = over.size();
  Stream gpu{kStandIn}, host{Device{}};

  std::vector<float> mine(int64_t count) const {
    std::vector<float> values(static_cast<size_t>(count));
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = 0.1f * static_cast<float>(rank + 1) + static_cast<float>(i) / 3;
    return values;
  }
  Tensor blank(Stream& stream, int64_t rows) const {
    return Tensor(stream.device(), DType::f32, {rows, 3});
  }
  Tensor filled(Stream& stream, int64_t rows) const {
    const Tensor x = blank(stream, rows);
    upload(stream, mine(3 * rows), x);
    return x;
  }
  // The same call on both devices gives the same bits.
  template <typename Call>
  void expect_alike(Call call) {
    const Tensor here = call(over, host), there = call(*staged, gpu);
    EXPECT_EQ(download<float>(host, here), download<float>(gpu, there));
  }
};

TEST_F(HostStaging, ReducesAndGathersAndExchangesLikeTheHost) {
  const Cut cut = Cut::even(2 * size + 1, size), even = Cut::even(2 * size, size);
  const int64_t rows = cut.part(rank).extent;
  expect_alike([&](Communicator& group, Stream& stream) {
    const Tensor x = filled(stream, 5);
    group.all_reduce(stream, x, x, Reduce::sum);
    return x;
  });
  expect_alike([&](Communicator& group, Stream& stream) {
    const Tensor out = blank(stream, rows);
    group.reduce_scatter(stream, filled(stream, cut.rows()), cut, out, Reduce::max);
    return out;
  });
  expect_alike([&](Communicator& group, Stream& stream) {
    const Tensor out = blank(stream, cut.rows());
    group.all_gather(stream, filled(stream, rows), cut, out);
    return out;
  });
  expect_alike([&](Communicator& group, Stream& stream) {
    const Tensor out = blank(stream, 2 * size);
    group.all_to_all(stream, filled(stream, 2 * size), even, out, even);
    return out;
  });
  expect_alike([&](Communicator& group, Stream& stream) {
    const Tensor x = filled(stream, 4);
    group.broadcast(stream, x, size - 1);
    return x;
  });
}

TEST_F(HostStaging, SendsAndReceivesAndKeepsWhatIsOnItsWay) {
  expect_alike([&](Communicator& group, Stream& stream) {
    const Tensor out = blank(stream, 4);
    auto received = group.start_recv(stream, out, (rank + size - 1) % size, 3);
    auto sent = group.start_send(stream, filled(stream, 4), (rank + 1) % size, 3);
    received->wait();
    sent->wait();
    return out;
  });
}

TEST_F(HostStaging, LetsValuesOfTheHostThrough) {
  EXPECT_EQ(staged->all_reduce(int64_t{rank}, Reduce::max), size - 1);
  EXPECT_EQ(staged->all_gather(std::to_string(rank)).back(), std::to_string(size - 1));
  // Also where the caller computes on the GPU.
  const Tensor x(Device{}, DType::i64, {1});
  *x.as<int64_t>() = 1;
  staged->all_reduce(gpu, x, x, Reduce::sum);
  EXPECT_EQ(*x.as<int64_t>(), size);
  staged->barrier();
  EXPECT_EQ(std::string(staged->transport()), std::string("host staging over ") + over.transport());
}

}  // namespace
}  // namespace tessera::test
