// SPDX-License-Identifier: Apache-2.0
// The CUDA backend: f32, bf16 and f16 on NVIDIA GPUs from sm_80 on.
#include "kernels/cuda/backend.h"

#include "kernels/kernel_list.h"

namespace tessera::cuda {

decltype(tessera::copy) copy;
decltype(tessera::cast) cast;
decltype(tessera::fill) fill;
decltype(tessera::transpose) transpose;
decltype(tessera::gemm) gemm;
decltype(tessera::grouped_gemm) grouped_gemm;
decltype(tessera::add) add;
decltype(tessera::scale) scale;
decltype(tessera::swiglu) swiglu;
decltype(tessera::swiglu_backward) swiglu_backward;
decltype(tessera::rms_norm) rms_norm;
decltype(tessera::rms_norm_backward_input) rms_norm_backward_input;
decltype(tessera::rms_norm_backward_weight) rms_norm_backward_weight;
decltype(tessera::rope) rope;
decltype(tessera::attention) attention;
decltype(tessera::attention_backward) attention_backward;
decltype(tessera::latent_heads) latent_heads;
decltype(tessera::latent_heads_backward) latent_heads_backward;
decltype(tessera::embedding) embedding;
decltype(tessera::embedding_backward) embedding_backward;
decltype(tessera::shift) shift;
decltype(tessera::softmax_stats) softmax_stats;
decltype(tessera::cross_entropy) cross_entropy;
decltype(tessera::cross_entropy_backward) cross_entropy_backward;
decltype(tessera::sum_of_squares) sum_of_squares;
decltype(tessera::exact_sum) exact_sum;
decltype(tessera::count_non_finite) count_non_finite;
decltype(tessera::argmax) argmax;
decltype(tessera::router_scores) router_scores;
decltype(tessera::router_choose) router_choose;
decltype(tessera::router_weights) router_weights;
decltype(tessera::router_backward) router_backward;
decltype(tessera::count_choices) count_choices;
decltype(tessera::balance_shares) balance_shares;
decltype(tessera::balance_loss) balance_loss;
decltype(tessera::update_router_bias) update_router_bias;
decltype(tessera::sort_slots) sort_slots;
decltype(tessera::gather_rows) gather_rows;
decltype(tessera::combine_rows) combine_rows;
decltype(tessera::weigh_rows) weigh_rows;
decltype(tessera::step_controls) step_controls;
decltype(tessera::adamw_update) adamw_update;

const Backend& backend() {
  static const Backend kBackend = without_nulls({
      .name = "cuda",
      .copy = copy,
      .cast = cast,
      .fill = fill,
      .transpose = transpose,
      .gemm = gemm,
      .grouped_gemm = grouped_gemm,
      .add = add,
      .scale = scale,
      .swiglu = swiglu,
      .swiglu_backward = swiglu_backward,
      .rms_norm = rms_norm,
      .rms_norm_backward_input = rms_norm_backward_input,
      .rms_norm_backward_weight = rms_norm_backward_weight,
      .rope = rope,
      .attention = attention,
      .attention_backward = attention_backward,
      .latent_heads = latent_heads,
      .latent_heads_backward = latent_heads_backward,
      .embedding = embedding,
      .embedding_backward = embedding_backward,
      .shift = shift,
      .softmax_stats = softmax_stats,
      .cross_entropy = cross_entropy,
      .cross_entropy_backward = cross_entropy_backward,
      .sum_of_squares = sum_of_squares,
      .exact_sum = exact_sum,
      .count_non_finite = count_non_finite,
      .argmax = argmax,
      .router_scores = router_scores,
      .router_choose = router_choose,
      .router_weights = router_weights,
      .router_backward = router_backward,
      .count_choices = count_choices,
      .balance_shares = balance_shares,
      .balance_loss = balance_loss,
      .update_router_bias = update_router_bias,
      .sort_slots = sort_slots,
      .gather_rows = gather_rows,
      .combine_rows = combine_rows,
      .weigh_rows = weigh_rows,
      .step_controls = step_controls,
      .adamw_update = adamw_update,
  });
  return kBackend;
}

}  // namespace tessera::cuda
