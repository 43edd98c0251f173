// SPDX-License-Identifier: Apache-2.0
#include "launch/new_step.h"

#include "checkpoint/retention.h"
#include "kernels/base/check.h"

namespace tessera {

std::unique_ptr<Lease> hold_for_new_step(Storage& storage, const std::string& root, int64_t step,
                                         bool take_over) {
  make_directories(storage, root);
  auto lease = Lease::take(root, {.take_over = take_over});
  for (const int64_t other : committed_steps(storage, root))
    check(other <= step, ErrorKind::usage, root + ": holds step", other, "already, and step", step,
          "would go before it; write into another directory");
  return lease;
}

}  // namespace tessera
