// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/host_copies.h"

#include <gtest/gtest.h>

#include "kernels/elementwise.h"
#include "kernels/transfer.h"
#include "tests/support/stand_in.h"

namespace tessera::test {
namespace {

std::vector<Tensor> tensors_of(Stream& stream) {
  std::vector<Tensor> all;
  for (const float first : {1.f, 2.f, 3.f, 4.f, 5.f}) {
    all.push_back(uploaded(stream, std::vector<float>(1000, first)));
    scale(stream, all.back(), 10, all.back());  // still queued when the copies are started
  }
  return all;
}

TEST(HostCopies, BringAGpusTensorsInOrder) {
  Stream stream(kStandIn);
  for (const int64_t ahead : {int64_t{1}, int64_t{9000}, HostCopies::kBytesAhead}) {
    HostCopies copies(tensors_of(stream), ahead);
    for (const float first : {10.f, 20.f, 30.f, 40.f, 50.f}) {
      const Tensor host = copies.next();
      ASSERT_TRUE(host.device().is_host());
      EXPECT_EQ(host.as<float>()[0], first) << ahead;
      EXPECT_EQ(host.as<float>()[999], first) << ahead;
    }
    EXPECT_THROW(copies.next(), Error);
  }
}

TEST(HostCopies, AreTheTensorsThemselvesOnTheHost) {
  Stream host(Device{});
  const std::vector<Tensor> all = tensors_of(host);
  HostCopies copies(all);
  for (const Tensor& tensor : all) EXPECT_EQ(copies.next().data(), tensor.data());
}

TEST(HostCopies, MayBeGivenUpHalfWay) {
  Stream stream(kStandIn);
  HostCopies copies(tensors_of(stream), 1);
  copies.next();
}

}  // namespace
}  // namespace tessera::test
