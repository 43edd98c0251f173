// SPDX-License-Identifier: Apache-2.0
#include "trainer/optim/loss_scaler.h"

#include <algorithm>
#include <cstdlib>
#include <sstream>

namespace tessera {
namespace {
// A scale found from a too high start takes one skip per halving: 2^24 to 2^4 is 20.
constexpr int64_t kMaxSkipsWhileScaling = 20;

const char* const kScaled = "scaled";
const char* const kUnscaled = "unscaled";

LossScaleRules rules_of(const PrecisionOptions& precision) {
  const LossScalingOptions& options = precision.loss_scaling;
  return {.dynamic =
              options.mode == LossScalingMode::dynamic ||
              (options.mode == LossScalingMode::automatic && precision.compute == ComputeType::f16),
          .megatron = options.style == LossScalingStyle::megatron,
          .growth_interval = options.growth_interval,
          .hysteresis = options.hysteresis,
          .min = options.min};
}
}  // namespace

LossScaler::LossScaler(const PrecisionOptions& precision, const FailureOptions& on_failure)
    : rules_(rules_of(precision)), on_failure_(on_failure) {
  const auto initial = static_cast<float>(precision.loss_scaling.initial);
  now_ = {.scale = rules_.dynamic ? initial : 1, .hysteresis = rules_.hysteresis};
}

void LossScaler::hear(bool applied, const LossScaleState& after, int64_t step,
                      const std::string& culprit) {
  const double before = now_.scale;
  now_ = after;
  skipped_in_a_row_ = applied ? 0 : skipped_in_a_row_ + 1;
  const int64_t limit =
      dynamic() ? std::max(kMaxSkipsWhileScaling, on_failure_.max_skips) : on_failure_.max_skips;
  const bool stop = !applied && !dynamic() && on_failure_.non_finite == OnNonFinite::stop;
  check(!stop && skipped_in_a_row_ <= limit, ErrorKind::numeric,
        "diverged: step " + std::to_string(step) + " is the " + std::to_string(skipped_in_a_row_) +
            ". in a row with a non-finite gradient; first: " + culprit + "; loss scale",
        before, "(try precision.compute=bf16, or a lower optimizer.lr)");
}

std::string LossScaler::state() const {
  std::ostringstream out;
  out << std::hexfloat << static_cast<float>(now_.scale) << ' ' << std::dec << now_.growth_tracker
      << ' ' << now_.hysteresis << ' ' << skipped_in_a_row_ << ' '
      << (dynamic() ? kScaled : kUnscaled);
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
  if (!dynamic()) return;  // resumed in a type that needs no scaling
  // A run without scaling has nothing to go on with: its 1 is no scale that was found. States of
  // earlier versions do not say which they are; an untouched 1 is taken for none.
  std::string kind;
  if (!(in >> kind)) kind = scale == 1 && tracker == 0 ? kUnscaled : kScaled;
  if (kind == kUnscaled) return;
  now_ = {.scale = scale, .growth_tracker = tracker, .hysteresis = hysteresis};
  skipped_in_a_row_ = skipped;
}

}  // namespace tessera
