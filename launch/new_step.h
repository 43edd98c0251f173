// SPDX-License-Identifier: Apache-2.0
// A directory of steps that a verb without a run (reshard, import) is to write one step into.
#pragma once

#include <memory>
#include <string>

#include "checkpoint/lease.h"

namespace tessera {

// Makes `root` where it is missing and holds it. Error{usage} when its line has a step above `step`
// already, which the new one would put aside; Error{busy} when a job holds it.
std::unique_ptr<Lease> hold_for_new_step(Storage& storage, const std::string& root, int64_t step,
                                         bool take_over);

}  // namespace tessera
