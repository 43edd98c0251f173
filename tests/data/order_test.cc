// SPDX-License-Identifier: Apache-2.0
#include "data/order.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "data/mixture.h"
#include "kernels/base/check.h"

namespace tessera {
namespace {

std::vector<int64_t> epoch_of(const Order& order, int64_t epoch) {
  std::vector<int64_t> windows;
  for (int64_t i = 0; i < order.num_windows(); ++i)
    windows.push_back(order.window(epoch * order.num_windows() + i));
  return windows;
}

TEST(Order, VisitsEveryWindowOnceAnEpoch) {
  for (const int64_t count : {1, 2, 3, 5, 64, 257, 1000, 65537}) {
    const Order order(count, 1234, 0, true);
    std::vector<int64_t> windows = epoch_of(order, 3), all(windows.size());
    std::sort(windows.begin(), windows.end());
    std::iota(all.begin(), all.end(), 0);
    EXPECT_EQ(windows, all) << count;
  }
}

TEST(Order, DependsOnSeedSourceAndEpoch) {
  const std::vector<int64_t> first = epoch_of(Order(1000, 1, 0, true), 0);
  EXPECT_NE(first, epoch_of(Order(1000, 2, 0, true), 0));
  EXPECT_NE(first, epoch_of(Order(1000, 1, 1, true), 0));
  EXPECT_NE(first, epoch_of(Order(1000, 1, 0, true), 1));
  EXPECT_EQ(first, epoch_of(Order(1000, 1, 0, true), 0));
}

TEST(Order, IsTheStoredOrderWithoutShuffling) {
  const Order order(10, 1, 0, false);
  EXPECT_EQ(order.window(7), 7);
  EXPECT_EQ(order.window(23), 3);
}

// Where window 0 .. 9 of ten land over many epochs: a chi-squared test per window, 9 degrees of
// freedom; 40 is beyond the 99.999th percentile.
TEST(Order, ShufflesSmallSetsEvenly) {
  constexpr int kWindows = 10, kEpochs = 5000;
  const Order order(kWindows, 99, 0, true);
  std::vector<std::vector<int>> counts(kWindows, std::vector<int>(kWindows, 0));
  for (int64_t epoch = 0; epoch < kEpochs; ++epoch) {
    const std::vector<int64_t> windows = epoch_of(order, epoch);
    for (size_t i = 0; i < windows.size(); ++i) ++counts[i][static_cast<size_t>(windows[i])];
  }
  for (const auto& row : counts) {
    double chi = 0;
    for (const int count : row) chi += std::pow(count - kEpochs / 10.0, 2) / (kEpochs / 10.0);
    EXPECT_LT(chi, 40);
  }
}

void expect_exact_account(const Mixture& mixture, int64_t samples) {
  std::vector<int64_t> used(static_cast<size_t>(mixture.num_sources()), 0);
  double worst = 0;
  for (int64_t n = 0; n < samples; ++n) {
    const Mixture::Draw draw = mixture.draw(n);
    ASSERT_EQ(draw.index, used[static_cast<size_t>(draw.source)]++) << n;
    for (int i = 0; i < mixture.num_sources(); ++i)
      worst = std::max(worst, std::abs(static_cast<double>(used[static_cast<size_t>(i)]) -
                                       static_cast<double>(n + 1) * mixture.weight(i)));
  }
  EXPECT_LT(worst, 1);
}

TEST(Mixture, KeepsEverySourceWithinOneSampleOfItsShare) {
  expect_exact_account(Mixture({1}), 10);
  expect_exact_account(Mixture({0.7, 0.3}), 1000);
  expect_exact_account(Mixture({5, 1, 1, 1, 1, 1}), 1000);
  expect_exact_account(Mixture({0.9, 0.03, 0.025, 0.025, 0.01, 0.01}), 3000);
  expect_exact_account(Mixture({0.123456789, 0.3, 3.14159, 0.0001}), 20000);
  expect_exact_account(Mixture(std::vector<double>(40, 0.7)), 2000);
}

TEST(Mixture, TakesWeightsAsTheFractionsTheyWereWrittenAs) {
  const Mixture mixture({0.7, 0.2, 0.1});
  EXPECT_DOUBLE_EQ(mixture.weight(0), 0.7);
  EXPECT_EQ(mixture.used(0, 10), 7);
  EXPECT_EQ(mixture.used(1, 1'000'000'000'000), 200'000'000'000);
  EXPECT_EQ(mixture.draw(1'000'000'000'000).source, mixture.draw(0).source);
  EXPECT_DOUBLE_EQ(Mixture({2, 1}).weight(1), 1.0 / 3);
}

TEST(Mixture, RefusesSenselessWeights) {
  EXPECT_THROW(Mixture({}), Error);
  EXPECT_THROW(Mixture({1, 0}), Error);
  EXPECT_THROW(Mixture({1, -1}), Error);
  EXPECT_THROW(Mixture({1, std::nan("")}), Error);
  EXPECT_THROW(Mixture({1e9, 1}), Error);
}

}  // namespace
}  // namespace tessera
