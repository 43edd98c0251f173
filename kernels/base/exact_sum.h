// SPDX-License-Identifier: Apache-2.0
// A sum of doubles without rounding: the whole range of a double as one long fixed-point integer
// (after Kulisch, "Computer arithmetic and validity", 2008). Addition is integer addition, so the
// result does not depend on order, on cuts or on the number of ranks; round() rounds once.
// Used for gradient norms and losses (docs/numerics.md). Not thread-safe.
#pragma once

#include <array>
#include <cstdint>

namespace tessera {

class ExactSum {
 public:
  // 32 bits a limb, 2^-1074 the lowest bit, 2^1023 the highest, spare bits for 2^30 additions
  // between two carries; one limb more counts non-finite terms.
  static constexpr int kLimbs = 67;
  static constexpr int kWords = kLimbs + 1;

  void add(double term);
  void add(const ExactSum& other);
  double round() const;  // nearest double within one ulp; NaN when a term was not finite
  bool finite() const { return words_[kLimbs] == 0; }

  // The integers themselves: summing them element by element over ranks sums the sums.
  // normalize() first, so that 2^30 ranks fit.
  std::array<int64_t, kWords>& words() { return words_; }
  void normalize();  // carries; afterwards every limb but the highest is in [0, 2^32)

 private:
  std::array<int64_t, kWords> words_{};
  int additions_ = 0;
};

}  // namespace tessera
