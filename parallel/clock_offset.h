// SPDX-License-Identifier: Apache-2.0
// How far this rank's clock is from rank 0's, so that what ranks recorded can be laid on one axis:
// Cristian's algorithm (Distributed Computing 3, 1989) with the quickest of several exchanges.
#pragma once

#include <cstdint>

#include "parallel/communicator.h"

namespace tessera {

// Add it to trace::now_ns() of this rank to get rank 0's. Collective.
int64_t clock_offset_ns(Stream& stream, Communicator& group);

}  // namespace tessera
