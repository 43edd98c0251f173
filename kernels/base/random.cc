// SPDX-License-Identifier: Apache-2.0
#include "kernels/base/random.h"

#include <cmath>
#include <numbers>

namespace tessera {

std::array<uint32_t, 4> Philox::block(uint64_t index) const {
  // Multipliers and Weyl increments of Philox4x32 from the paper, table 2.
  constexpr uint64_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
  constexpr uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
  constexpr int kRounds = 10;
  std::array<uint32_t, 4> counter = {
      static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32),
      static_cast<uint32_t>(stream), static_cast<uint32_t>(stream >> 32)};
  uint32_t key0 = static_cast<uint32_t>(seed), key1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < kRounds; ++round) {
    const uint64_t product0 = kMultiplier0 * counter[0];
    const uint64_t product1 = kMultiplier1 * counter[2];
    counter = {
        static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key0, static_cast<uint32_t>(product1),
        static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key1, static_cast<uint32_t>(product0)};
    key0 += kWeyl0;
    key1 += kWeyl1;
  }
  return counter;
}

uint64_t Philox::bits(uint64_t index) const {
  const auto words = block(index);
  return static_cast<uint64_t>(words[1]) << 32 | words[0];
}

double Philox::uniform(uint64_t index) const {
  return static_cast<double>(bits(index) >> 11) * 0x1p-53;
}

double Philox::normal(uint64_t index) const {
  const auto words = block(index);
  const uint64_t first = static_cast<uint64_t>(words[1]) << 32 | words[0];
  const uint64_t second = static_cast<uint64_t>(words[3]) << 32 | words[2];
  const double radius_source = (static_cast<double>(first >> 11) + 1.0) * 0x1p-53;  // in (0, 1]
  const double angle = static_cast<double>(second >> 11) * 0x1p-53 * 2 * std::numbers::pi;
  return std::sqrt(-2 * std::log(radius_source)) * std::cos(angle);
}

uint64_t stream_named(std::string_view name) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

}  // namespace tessera
