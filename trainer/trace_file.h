// SPDX-License-Identifier: Apache-2.0
// The trace of some steps of a run as one file in Chrome's trace event format (open it at
// https://ui.perfetto.dev): one process a rank, in it one lane a thread of the host and one for
// each of its GPU's queues (compute, communication, copies), all on rank 0's clock.
#pragma once

#include <string>

#include "parallel/communicators.h"

namespace tessera {

// Collective: starts recording on every rank at about the same moment, what the stream's device
// does included. A GPU has then done all that it was given, and once more when the trace ends.
void start_trace(Stream& stream, Communicator& world);
// Collective: ends it; rank 0 writes `path` (and makes its directory). Throws Error{storage}.
void write_trace(Stream& stream, const Communicators& comms, const std::string& path);

}  // namespace tessera
