// SPDX-License-Identifier: Apache-2.0
#include "parallel/strategy/grad_reducer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/copy.h"
#include "tests/support/rank_world.h"

namespace tessera::test {
namespace {

using testing::ElementsAre;

constexpr int64_t kRows = 7, kColumns = 5;

struct Reducing : testing::Test {
  Stream stream{Device{}};
  Communicator& data = world().all();
  GradReducer reducer{stream};

  // Whole numbers: sums are exact.
  static float element(int rank, int64_t i, int tensor) {
    return static_cast<float>((rank + 1) * 1000 + i * (tensor + 1));
  }
  Tensor gradient(int tensor) const {
    const Tensor out(Device{}, DType::f32, {kRows, kColumns});
    for (int64_t i = 0; i < out.size(); ++i) out.as<float>()[i] = element(data.rank(), i, tensor);
    return out;
  }
  float sum(int64_t i, int tensor) const {
    float total = 0;
    for (int rank = 0; rank < data.size(); ++rank) total += element(rank, i, tensor);
    return total;
  }
  std::vector<Cut> cuts() const {
    return {Cut::even(kRows, data.size()), Cut::owned(kRows, data.size(), data.size() - 1)};
  }
};

TEST_F(Reducing, SumsInPlaceTheRowsThatTheCutDealsOrAllOfThem) {
  for (const bool everywhere : {false, true}) {
    std::vector<Tensor> gradients;
    for (const Cut& cut : cuts()) {
      gradients.push_back(gradient(static_cast<int>(gradients.size())));
      reducer.start_in_place(data, gradients.back(), cut, everywhere);
    }
    reducer.wait();
    for (size_t tensor = 0; tensor < gradients.size(); ++tensor) {
      const Interval mine = cuts()[tensor].part(data.rank());
      const int64_t first = everywhere ? 0 : mine.first;
      const int64_t end = everywhere ? kRows : mine.first + mine.extent;
      for (int64_t i = first * kColumns; i < end * kColumns; ++i)
        ASSERT_EQ(gradients[tensor].as<float>()[i], sum(i, static_cast<int>(tensor)))
            << "tensor " << tensor << ", element " << i;
    }
  }
}

TEST_F(Reducing, HandsOverSumsInTheOrderOfTheStarts) {
  std::vector<int> taken;
  for (int tensor = 0; tensor < 3; ++tensor)
    reducer.start(data, gradient(tensor), Cut::even(kRows, data.size()),
                  [&taken, tensor, this](const Tensor& mine) {
                    taken.push_back(tensor);
                    const Interval rows = Cut::even(kRows, data.size()).part(data.rank());
                    ASSERT_EQ(mine.rows(), rows.extent);
                    for (int64_t i = 0; i < mine.size(); ++i)
                      ASSERT_EQ(mine.as<float>()[i], sum(rows.first * kColumns + i, tensor));
                  });
  reducer.wait();
  EXPECT_THAT(taken, ElementsAre(0, 1, 2));
  reducer.wait();
  EXPECT_EQ(taken.size(), 3U) << "nothing is left";
}

TEST_F(Reducing, BoundsWhatIsOnItsWay) {
  constexpr int64_t kLarge = int64_t{40} << 18;  // 40 MiB of f32
  int taken = 0;
  for (int tensor = 0; tensor < 3; ++tensor) {
    const Tensor large(Device{}, DType::f32, {1024, kLarge / 1024});
    fill(stream, 1, large);
    reducer.start(data, large, Cut::even(1024, data.size()), [&](const Tensor&) { ++taken; });
    EXPECT_EQ(taken, tensor) << "the one before had to make room";
  }
  reducer.wait();
  EXPECT_EQ(taken, 3);
}

}  // namespace
}  // namespace tessera::test
