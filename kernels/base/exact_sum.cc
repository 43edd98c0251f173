// SPDX-License-Identifier: Apache-2.0
#include "kernels/base/exact_sum.h"

#include <cmath>
#include <cstring>
#include <limits>

namespace tessera {
namespace {
constexpr int kBitsPerLimb = 32;
constexpr int kAdditionsBetweenCarries = 1 << 29;
constexpr uint64_t kLimbMask = 0xffffffff;
}  // namespace

void ExactSum::add(double term) {
  uint64_t bits = 0;
  std::memcpy(&bits, &term, sizeof bits);
  const int exponent = static_cast<int>((bits >> 52) & 0x7ff);
  if (exponent == 0x7ff) {
    ++words_[kLimbs];
    return;
  }
  uint64_t mantissa = bits & ((uint64_t{1} << 52) - 1);
  if (exponent != 0) mantissa |= uint64_t{1} << 52;
  // The lowest mantissa bit of exponent 0 or 1 is 2^-1074, bit 0 of the accumulator.
  const int shift = exponent == 0 ? 0 : exponent - 1;
  const int limb = shift / kBitsPerLimb, offset = shift % kBitsPerLimb;
  const int64_t sign = (bits >> 63) != 0 ? -1 : 1;
  // mantissa << offset has up to 84 bits: three limbs, made from its two halves.
  const uint64_t low = (mantissa & kLimbMask) << offset, high = (mantissa >> kBitsPerLimb)
                                                                << offset;
  const uint64_t middle = (low >> kBitsPerLimb) + (high & kLimbMask);
  int64_t* const place = words_.data() + limb;
  place[0] += sign * static_cast<int64_t>(low & kLimbMask);
  place[1] += sign * static_cast<int64_t>(middle);
  place[2] += sign * static_cast<int64_t>(high >> kBitsPerLimb);
  if (++additions_ >= kAdditionsBetweenCarries) normalize();
}

void ExactSum::add(const ExactSum& other) {
  ExactSum normal = other;
  normal.normalize();
  normalize();
  for (size_t word = 0; word < words_.size(); ++word) words_[word] += normal.words_[word];
}

void ExactSum::normalize() {
  int64_t carry = 0;
  for (int limb = 0; limb + 1 < kLimbs; ++limb) {
    int64_t& word = words_[static_cast<size_t>(limb)];
    word += carry;
    carry = word >> kBitsPerLimb;  // floor: the limb becomes non-negative
    word &= static_cast<int64_t>(kLimbMask);
  }
  words_[kLimbs - 1] += carry;
  additions_ = 0;
}

double ExactSum::round() const {
  if (!finite()) return std::numeric_limits<double>::quiet_NaN();
  ExactSum normal = *this;
  normal.normalize();
  const bool negative = normal.words_[kLimbs - 1] < 0;
  if (negative) {
    for (int limb = 0; limb < kLimbs; ++limb) normal.words_[static_cast<size_t>(limb)] *= -1;
    normal.normalize();
  }
  // From the highest limb down: three limbs hold more bits than a double keeps.
  double sum = 0;
  for (int limb = kLimbs - 1; limb >= 0; --limb)
    sum += std::ldexp(static_cast<double>(normal.words_[static_cast<size_t>(limb)]),
                      limb * kBitsPerLimb - 1074);
  return negative ? -sum : sum;
}

}  // namespace tessera
