// SPDX-License-Identifier: Apache-2.0
// How large a model is and how much it computes, from its options alone: the figures that papers
// give (DeepSeek-V3, arXiv:2412.19437, table 1 and 4.2; Megatron-LM's
// num_floating_point_operations). Pure arithmetic.
#pragma once

#include <cstdint>

#include "trainer/model/options.h"

namespace tessera {

// Elements of all parameters, each counted once: the router's selection biases and the layers of
// multi-token prediction too, the embedding and head that these share not again.
int64_t num_parameters(const ModelOptions& model);
// Of them, those of multi-token prediction.
int64_t num_mtp_parameters(const ModelOptions& model);
// Those that take part in one token's forward pass without multi-token prediction; of routed
// experts num_experts_per_tok in each layer. Embedding and head count whole.
int64_t num_active_parameters(const ModelOptions& model);

// Multiply-adds of one token's forward pass through a block.
struct BlockWork {
  double weights = 0;    // products with weights; of routed experts num_experts_per_tok
  double attention = 0;  // scores and their sums of values; the masked half is not counted
};
// layer: from 0; from num_hidden_layers on those of multi-token prediction, their projection
// eh_proj included.
BlockWork block_work(const ModelOptions& model, int64_t layer, int64_t sequence_length);

// Floating-point operations of one token in forward and backward pass: multiply-adds of matrix
// products and causal attention times 2 x 3. Recomputation is not counted.
double training_flops_per_token(const ModelOptions& model, int64_t sequence_length);

}  // namespace tessera
