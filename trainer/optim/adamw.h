// SPDX-License-Identifier: Apache-2.0
// AdamW (Loshchilov and Hutter, arXiv:1711.05101) over all pieces of a ParameterStore in one call.
// Its arithmetic is kernels/update.h; its state is the running means of the gradient and of its
// square.
#pragma once

#include "trainer/optim/optimizer.h"

namespace tessera {

OptimizerKind adamw_kind();

}  // namespace tessera
