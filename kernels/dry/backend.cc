// SPDX-License-Identifier: Apache-2.0
// The dry backend: what is left of a kernel is the check of its arguments in its front function.
// A program runs through every call it would make, on tensors without memory.
#include "kernels/backend.h"

namespace tessera {
namespace dry {

template <typename... Arguments>
void nothing(Arguments...) {}

}  // namespace dry

const Backend& dry_backend() {
  static constexpr Backend kBackend = {
      .name = "dry",
      .copy = dry::nothing,
      .cast = dry::nothing,
      .fill = dry::nothing,
      .transpose = dry::nothing,
      .gemm = dry::nothing,
      .grouped_gemm = dry::nothing,
      .add = dry::nothing,
      .scale = dry::nothing,
      .swiglu = dry::nothing,
      .swiglu_backward = dry::nothing,
      .rms_norm = dry::nothing,
      .rms_norm_backward_input = dry::nothing,
      .rms_norm_backward_weight = dry::nothing,
      .rope = dry::nothing,
      .attention = dry::nothing,
      .attention_backward = dry::nothing,
      .latent_heads = dry::nothing,
      .latent_heads_backward = dry::nothing,
      .embedding = dry::nothing,
      .embedding_backward = dry::nothing,
      .shift = dry::nothing,
      .softmax_stats = dry::nothing,
      .cross_entropy = dry::nothing,
      .cross_entropy_backward = dry::nothing,
      .sum_of_squares = dry::nothing,
      .exact_sum = dry::nothing,
      .count_non_finite = dry::nothing,
      .argmax = dry::nothing,
      .router_scores = dry::nothing,
      .router_choose = dry::nothing,
      .router_weights = dry::nothing,
      .router_backward = dry::nothing,
      .count_choices = dry::nothing,
      .balance_shares = dry::nothing,
      .balance_loss = dry::nothing,
      .update_router_bias = dry::nothing,
      .sort_slots = dry::nothing,
      .gather_rows = dry::nothing,
      .combine_rows = dry::nothing,
      .weigh_rows = dry::nothing,
      .step_controls = dry::nothing,
      .adamw_update = dry::nothing,
  };
  return kBackend;
}

}  // namespace tessera
