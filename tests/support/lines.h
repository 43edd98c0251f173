// SPDX-License-Identifier: Apache-2.0
// Small checkpoints of jobs of any generation, for tests of which of them count.
#pragma once

#include <functional>
#include <string>

#include "checkpoint/layout.h"
#include "checkpoint/writer.h"
#include "tests/support/checkpoint_states.h"
#include "tests/support/thread_communicator.h"

namespace tessera {

inline State line_state(int64_t step) {
  State state;
  state.entries.push_back(
      salted_entry("w", "param", DType::f32, ShardSpec::whole({100}), std::to_string(step)));
  return state;
}

// Saves it as the job of `generation` does that went on from the step `base`.
inline void save_of(
    Storage& storage, const std::string& root, int64_t generation, int64_t base, int64_t step,
    const std::function<void()>& still_held = [] {}) {
  run_ranks(1, [&](Communicator& world) {
    SaveInfo info = save_info(step);
    info.generation = generation;
    info.base = base;
    info.still_held = still_held;
    save_checkpoint(storage, world, root, info, line_state(step));
  });
}

}  // namespace tessera
