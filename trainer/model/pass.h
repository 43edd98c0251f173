// SPDX-License-Identifier: Apache-2.0
// A forward pass leaves behind a tape for its own backward pass, or keys and values for the tokens
// of later passes. An evaluation leaves nothing.
#pragma once

#include "trainer/model/tape.h"

namespace tessera {

class AttentionCache;  // trainer/model/attention_cache.h

struct Pass {
  // Not explicit, so that a caller hands in its tape, or nullptr for an evaluation.
  Pass(Tape* to) : tape(to) {}
  Pass(AttentionCache& with) : cache(&with) {}

  // The same pass for layers whose activations are not kept.
  Pass without_tape() const {
    Pass other = *this;
    other.tape = nullptr;
    return other;
  }

  Tape* tape = nullptr;             // null: nothing is remembered for a backward pass
  AttentionCache* cache = nullptr;  // null: tokens attend to those of this pass alone
};

}  // namespace tessera
