// SPDX-License-Identifier: Apache-2.0
// The CUDA backend: f32, bf16 and f16 on NVIDIA GPUs from sm_80 on. nullptr: not written yet.
#include "kernels/cuda/backend.h"

#include "kernels/kernel_list.h"

namespace tessera::cuda {

const Backend& backend() {
  static const Backend kBackend = without_nulls({
      .name = "cuda",
      .copy = nullptr,
      .cast = nullptr,
      .fill = nullptr,
      .transpose = nullptr,
      .gemm = nullptr,
      .grouped_gemm = nullptr,
      .add = nullptr,
      .scale = nullptr,
      .swiglu = nullptr,
      .swiglu_backward = nullptr,
      .rms_norm = nullptr,
      .rms_norm_backward_input = nullptr,
      .rms_norm_backward_weight = nullptr,
      .rope = nullptr,
      .attention = nullptr,
      .attention_backward = nullptr,
      .latent_heads = nullptr,
      .latent_heads_backward = nullptr,
      .embedding = nullptr,
      .embedding_backward = nullptr,
      .shift = nullptr,
      .softmax_stats = nullptr,
      .cross_entropy = nullptr,
      .cross_entropy_backward = nullptr,
      .sum_of_squares = nullptr,
      .exact_sum = nullptr,
      .count_non_finite = nullptr,
      .argmax = nullptr,
      .router_scores = nullptr,
      .router_choose = nullptr,
      .router_weights = nullptr,
      .router_backward = nullptr,
      .count_choices = nullptr,
      .balance_shares = nullptr,
      .balance_loss = nullptr,
      .update_router_bias = nullptr,
      .sort_slots = nullptr,
      .gather_rows = nullptr,
      .combine_rows = nullptr,
      .weigh_rows = nullptr,
      .adamw_update = nullptr,
  });
  return kBackend;
}

}  // namespace tessera::cuda
