// SPDX-License-Identifier: Apache-2.0
#include "trainer/model/layer.h"

namespace tessera {

Tensor Layer::logits(const Tensor&) const {
  fail(ErrorKind::internal, "Layer: this one is no head and has no logits");
}

}  // namespace tessera
