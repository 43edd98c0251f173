// SPDX-License-Identifier: Apache-2.0
// The rows of flags that `tessera train` and `tessera launch` share.
#pragma once

#include "launch/run/train_command.h"
#include "launch/verb/verb.h"

namespace tessera {

std::vector<Flag> train_flags(TrainCommand& command);

}  // namespace tessera
