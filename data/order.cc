// SPDX-License-Identifier: Apache-2.0
#include "data/order.h"

#include "kernels/base/check.h"
#include "kernels/base/random.h"

namespace tessera {
namespace {

constexpr int kRounds = 6;  // four are enough for a pseudo-random permutation (Luby-Rackoff)
constexpr int kSmallestHalfBits = 4;  // tiny domains shuffle badly; walking in 256 values is cheap

}  // namespace

Order::Order(int64_t num_windows, uint64_t seed, uint64_t stream, bool shuffle)
    : num_windows_(num_windows),
      seed_(seed),
      stream_(stream),
      shuffle_(shuffle),
      half_bits_(kSmallestHalfBits) {
  check(num_windows >= 1, "an order needs at least one window, got", num_windows);
  while (2 * half_bits_ < 62 &&
         (uint64_t{1} << (2 * half_bits_)) < static_cast<uint64_t>(num_windows))
    ++half_bits_;
}

uint64_t Order::permute(uint64_t value, uint64_t epoch) const {
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  const Philox philox{seed_, stream_named("data.order") ^ stream_};
  uint64_t left = value >> half_bits_, right = value & mask;
  for (int round = 0; round < kRounds; ++round) {
    // The counter holds the half (at most 31 bits), the epoch (29 bits) and the round.
    const uint64_t counter = right << 32 | (epoch & 0x1FFFFFFF) << 3 | static_cast<uint64_t>(round);
    const uint64_t mixed = left ^ (philox.bits(counter) & mask);
    left = right;
    right = mixed;
  }
  return left << half_bits_ | right;
}

int64_t Order::window(int64_t sample) const {
  check(sample >= 0, "a sample index is at least 0, got", sample);
  const int64_t epoch = sample / num_windows_;
  auto value = static_cast<uint64_t>(sample % num_windows_);
  if (!shuffle_ || num_windows_ == 1) return static_cast<int64_t>(value);
  do value = permute(value, static_cast<uint64_t>(epoch));
  while (value >= static_cast<uint64_t>(num_windows_));
  return static_cast<int64_t>(value);
}

}  // namespace tessera
