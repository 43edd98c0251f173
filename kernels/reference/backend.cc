// SPDX-License-Identifier: Apache-2.0
// The reference backend: every kernel as plain loops in double precision, to be read beside its
// formula. It is the truth for kernel tests and for `tessera verify`; never fast.
#include "kernels/backend.h"

namespace tessera {
namespace reference {
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
}  // namespace reference

const Backend& reference_backend() {
  static constexpr Backend kBackend = {
      .name = "reference",
      .copy = reference::copy,
      .cast = reference::cast,
      .fill = reference::fill,
      .transpose = reference::transpose,
      .gemm = reference::gemm,
      .grouped_gemm = reference::grouped_gemm,
      .add = reference::add,
      .scale = reference::scale,
      .swiglu = reference::swiglu,
      .swiglu_backward = reference::swiglu_backward,
      .rms_norm = reference::rms_norm,
      .rms_norm_backward_input = reference::rms_norm_backward_input,
      .rms_norm_backward_weight = reference::rms_norm_backward_weight,
      .rope = reference::rope,
      .attention = reference::attention,
      .attention_backward = reference::attention_backward,
      .latent_heads = reference::latent_heads,
      .latent_heads_backward = reference::latent_heads_backward,
      .embedding = reference::embedding,
      .embedding_backward = reference::embedding_backward,
      .shift = reference::shift,
      .softmax_stats = reference::softmax_stats,
      .cross_entropy = reference::cross_entropy,
      .cross_entropy_backward = reference::cross_entropy_backward,
      .sum_of_squares = reference::sum_of_squares,
      .exact_sum = reference::exact_sum,
      .count_non_finite = reference::count_non_finite,
      .argmax = reference::argmax,
      .router_scores = reference::router_scores,
      .router_choose = reference::router_choose,
      .router_weights = reference::router_weights,
      .router_backward = reference::router_backward,
      .count_choices = reference::count_choices,
      .balance_shares = reference::balance_shares,
      .balance_loss = reference::balance_loss,
      .update_router_bias = reference::update_router_bias,
      .sort_slots = reference::sort_slots,
      .gather_rows = reference::gather_rows,
      .combine_rows = reference::combine_rows,
      .weigh_rows = reference::weigh_rows,
      .step_controls = reference::step_controls,
      .adamw_update = reference::adamw_update,
  };
  return kBackend;
}

}  // namespace tessera
