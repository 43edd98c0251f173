// SPDX-License-Identifier: Apache-2.0
// The CPU backend: f32, bf16 and f16 on the instruction-set path of kernels/cpu_path.h.
#include "kernels/backend.h"

namespace tessera {
namespace cpu {
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
}  // namespace cpu

const Backend& cpu_backend() {
  static constexpr Backend kBackend = {
      .name = "cpu",
      .copy = cpu::copy,
      .cast = cpu::cast,
      .fill = cpu::fill,
      .transpose = cpu::transpose,
      .gemm = cpu::gemm,
      .grouped_gemm = cpu::grouped_gemm,
      .add = cpu::add,
      .scale = cpu::scale,
      .swiglu = cpu::swiglu,
      .swiglu_backward = cpu::swiglu_backward,
      .rms_norm = cpu::rms_norm,
      .rms_norm_backward_input = cpu::rms_norm_backward_input,
      .rms_norm_backward_weight = cpu::rms_norm_backward_weight,
      .rope = cpu::rope,
      .attention = cpu::attention,
      .attention_backward = cpu::attention_backward,
      .latent_heads = cpu::latent_heads,
      .latent_heads_backward = cpu::latent_heads_backward,
      .embedding = cpu::embedding,
      .embedding_backward = cpu::embedding_backward,
      .shift = cpu::shift,
      .softmax_stats = cpu::softmax_stats,
      .cross_entropy = cpu::cross_entropy,
      .cross_entropy_backward = cpu::cross_entropy_backward,
      .sum_of_squares = cpu::sum_of_squares,
      .exact_sum = cpu::exact_sum,
      .count_non_finite = cpu::count_non_finite,
      .argmax = cpu::argmax,
      .router_scores = cpu::router_scores,
      .router_choose = cpu::router_choose,
      .router_weights = cpu::router_weights,
      .router_backward = cpu::router_backward,
      .count_choices = cpu::count_choices,
      .balance_shares = cpu::balance_shares,
      .balance_loss = cpu::balance_loss,
      .update_router_bias = cpu::update_router_bias,
      .sort_slots = cpu::sort_slots,
      .gather_rows = cpu::gather_rows,
      .combine_rows = cpu::combine_rows,
      .weigh_rows = cpu::weigh_rows,
      .step_controls = cpu::step_controls,
      .adamw_update = cpu::adamw_update,
  };
  return kBackend;
}

}  // namespace tessera
