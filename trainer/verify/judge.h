// SPDX-License-Identifier: Apache-2.0
// Whether two layouts computed the same thing (docs/numerics.md). Every run is compared with the
// run of the double-precision reference, and bit by bit with the first run of its class: layouts
// that differ in nothing that may change a sum.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "trainer/verify/capture.h"
#include "trainer/verify/layout.h"

namespace tessera {

// Relative Frobenius errors against the reference. Tensors of fewer than kPooledElements elements
// are judged together, layer by layer: two equally good roundings of one number differ too much.
struct Errors {
  static constexpr size_t kPooledElements = 64;
  std::map<std::string, double> gradients;      // of step 1
  std::map<std::string, std::string> furthest;  // of the small ones that are judged together
  double grad_norm = 0;                         // largest of all steps
  double loss = 0;                              // largest of all steps
  double optimizer = 0;                         // its state after the last step
  double weights = 0;                           // after the last step
};
Errors errors_against(const Captured& reference, const Captured& run);

// The bound: e(layout) <= 2 e(one rank) + kSlack * unit_roundoff * sqrt(depth), with depth the
// number of tokens that a gradient is summed over.
inline constexpr double kSlack = 0.25;
// After the first step layouts stand at weights that differ by rounding, which AdamW makes larger
// where a gradient is nearly zero: its update there has the size of the learning rate and the sign
// of a rounding. The gradients of later steps, and the moments made of them, move by so many times
// the relative distance of the weights (10 to 13 measured on small models; decision 17).
inline constexpr double kCurvature = 16;
// Experts are chosen as in the base run; where a layout would have chosen otherwise at step 1, the
// scores it chose between lie within so many unit roundoffs of the compute type of each other.
inline constexpr double kFlipRoundoffs = 16;
struct Bound {
  Errors one_rank;  // of the same compute type
  double slack = 0;
  double flip_margin = 0;  // of a choice of experts that rounding alone may turn
  double of(double one_rank_error) const { return 2 * one_rank_error + slack; }
};

// The first thing that differs between two runs of a class; nullopt: not a bit.
std::optional<std::string> first_difference(const Captured& a, const Captured& b);

struct Verdict {
  enum class Kind { within_bound, bit_equal, differs };
  Kind kind = Kind::within_bound;
  std::string worst_gradient;  // the one nearest to its bound, or furthest beyond
  double worst_error = 0;
  double worst_bound = 0;
  Errors errors;
  std::string reason;  // differs: what, by name
};
// twin: the first run of the same class, null when this is the first.
Verdict judge(const Captured& reference, const Captured& run, const Bound& bound,
              const Captured* twin);

}  // namespace tessera
