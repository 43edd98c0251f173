// SPDX-License-Identifier: Apache-2.0
// A few numbers in f64: the reference's are the CPU's.
#include "kernels/step_controls.h"

namespace tessera {
namespace reference {
decltype(tessera::step_controls) step_controls;
}  // namespace reference

namespace cpu {

void step_controls(Stream& stream, const StepRules& rules, const Tensor& statistics,
                   const Tensor& choices, const Tensor& numbers) {
  reference::step_controls(stream, rules, statistics, choices, numbers);
}

}  // namespace cpu
}  // namespace tessera
