// SPDX-License-Identifier: Apache-2.0
// A simulated plan as a picture: a row for each rank, a box for each action with its microbatch,
// idle time left white, the rank's bubble and tapes at its end.
#pragma once

#include <string>

#include "parallel/pipeline/simulate.h"

namespace tessera {

struct PictureOptions {
  std::string title;
  bool messages = false;  // thin lines from sender to receiver, where the plan has messages
};

// An SVG file (1.1, no scripts, no fonts of its own). The same plan gives the same bytes. The
// colours stay apart for colour-blind readers (Okabe and Ito); a rank's later chunks are paler.
std::string to_svg(const Plan& plan, const Simulation& simulation,
                   const PictureOptions& options = {});

}  // namespace tessera
