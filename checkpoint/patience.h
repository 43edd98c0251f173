// SPDX-License-Identifier: Apache-2.0
// Reads that fail now may succeed in a moment: a file server that restarts, a device that is slow.
// Such a failure is no damage, so nothing is passed over because of it.
#pragma once

#include <chrono>
#include <thread>

#include "kernels/base/check.h"
#include "kernels/base/log.h"

namespace tessera {

// Runs `work` up to three times, with a pause after each Error{storage}; the last one is thrown.
// Ranks that fail with the same Error stay together.
template <typename Work>
auto patiently(Work&& work) {
  for (const int pause_ms : {100, 500}) {
    try {
      return work();
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::storage) throw;
      log::warn(error.what(), "Trying again.");
      std::this_thread::sleep_for(std::chrono::milliseconds(pause_ms));
    }
  }
  return work();
}

}  // namespace tessera
