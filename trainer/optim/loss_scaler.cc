// SPDX-License-Identifier: Apache-2.0
#include "trainer/optim/loss_scaler.h"

#include <algorithm>
#include <cmath>
#include <sstream>

namespace tessera {
namespace {
constexpr float kGrowth = 2.0f;
constexpr float kBackoff = 0.5f;
// A scale found from a too high start takes one skip per halving: 2^24 to 2^4 is 20.
constexpr int64_t kMaxSkipsWhileScaling = 20;
}  // namespace

LossScaler::LossScaler(const PrecisionOptions& precision, const FailureOptions& on_failure)
    : options_(precision.loss_scaling),
      on_failure_(on_failure),
      dynamic_(options_.mode == "dynamic" ||
               (options_.mode == "auto" && precision.compute == "f16")),
      scale_(dynamic_ ? static_cast<float>(options_.initial) : 1.0f),
      hysteresis_(options_.hysteresis) {}

void LossScaler::overflow() {
  growth_tracker_ = 0;
  if (options_.style == "megatron") {
    if (--hysteresis_ > 0) return;
    scale_ = std::max(scale_ * kBackoff, static_cast<float>(options_.min));
  } else {
    scale_ *= kBackoff;
  }
}

void LossScaler::good_step() {
  if (++growth_tracker_ < options_.growth_interval) return;
  growth_tracker_ = 0;
  hysteresis_ = options_.hysteresis;
  if (std::isfinite(scale_ * kGrowth)) scale_ *= kGrowth;
}

bool LossScaler::update(bool finite, int64_t step, const std::string& culprit) {
  if (finite) {
    skipped_in_a_row_ = 0;
    if (dynamic_) good_step();
    return true;
  }
  ++skipped_in_a_row_;
  const double before = scale_;
  if (dynamic_) overflow();
  const int64_t limit =
      dynamic_ ? std::max(kMaxSkipsWhileScaling, on_failure_.max_skips) : on_failure_.max_skips;
  const bool stop = !dynamic_ && on_failure_.non_finite == "stop";
  check(!stop && skipped_in_a_row_ <= limit, ErrorKind::numeric,
        "diverged: step " + std::to_string(step) + " is the " + std::to_string(skipped_in_a_row_) +
            ". in a row with a non-finite gradient; first: " + culprit + "; loss scale",
        before, "(try precision.compute=bf16, or a lower optimizer.lr)");
  return false;
}

std::string LossScaler::state() const {
  std::ostringstream out;
  out << std::hexfloat << scale_ << ' ' << std::dec << growth_tracker_ << ' ' << hysteresis_ << ' '
      << skipped_in_a_row_;
  return out.str();
}

void LossScaler::restore(const std::string& state) {
  // strtof reads hexadecimal floats; istream does not (LWG 2381).
  char* rest = nullptr;
  const float scale = std::strtof(state.c_str(), &rest);
  std::istringstream in(rest);
  int64_t tracker = 0, hysteresis = 0;
  int skipped = 0;
  check(static_cast<bool>(in >> tracker >> hysteresis >> skipped), ErrorKind::checkpoint,
        "checkpoint: bad loss scaler state '" + state + "'");
  if (!dynamic_) return;  // resumed in a type that needs no scaling
  scale_ = scale;
  growth_tracker_ = tracker;
  hysteresis_ = hysteresis;
  skipped_in_a_row_ = skipped;
}

}  // namespace tessera
