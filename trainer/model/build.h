// SPDX-License-Identifier: Apache-2.0
// Recipe + communicators -> the layers of this rank: the only place that decides which layer goes
// where. Declares parameters in `context.store`; the caller then allocates them.
#pragma once

#include <memory>

#include "trainer/model/stage.h"
#include "trainer/recipe.h"

namespace tessera {

// positions: rows of the rotary table (the longest sequence that will be seen).
std::unique_ptr<Stage> build_stage(LayerContext context, const ModelOptions& model,
                                   const OptimizerOptions& optimizer, int64_t positions);

// Multiply-adds of the matrix products of one token's forward pass, times 2 x 3 for forward and
// backward, plus causal attention (the masked half is not counted).
double training_flops_per_token(const ModelOptions& model, int64_t sequence_length);

}  // namespace tessera
