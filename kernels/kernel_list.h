// SPDX-License-Identifier: Apache-2.0
// The kernels of a Backend one by one, with their names: for what is done to each of them alike.
//   for_each_kernel([&]<auto Kernel>(const char* name) { ... backend.*Kernel ... });
#pragma once

#include "kernels/backend.h"

namespace tessera {

template <typename Visit>
void for_each_kernel(Visit&& visit) {
  visit.template operator()<&Backend::copy>("copy");
  visit.template operator()<&Backend::cast>("cast");
  visit.template operator()<&Backend::fill>("fill");
  visit.template operator()<&Backend::transpose>("transpose");
  visit.template operator()<&Backend::gemm>("gemm");
  visit.template operator()<&Backend::grouped_gemm>("grouped_gemm");
  visit.template operator()<&Backend::add>("add");
  visit.template operator()<&Backend::scale>("scale");
  visit.template operator()<&Backend::swiglu>("swiglu");
  visit.template operator()<&Backend::swiglu_backward>("swiglu_backward");
  visit.template operator()<&Backend::rms_norm>("rms_norm");
  visit.template operator()<&Backend::rms_norm_backward_input>("rms_norm_backward_input");
  visit.template operator()<&Backend::rms_norm_backward_weight>("rms_norm_backward_weight");
  visit.template operator()<&Backend::rope>("rope");
  visit.template operator()<&Backend::attention>("attention");
  visit.template operator()<&Backend::attention_backward>("attention_backward");
  visit.template operator()<&Backend::latent_heads>("latent_heads");
  visit.template operator()<&Backend::latent_heads_backward>("latent_heads_backward");
  visit.template operator()<&Backend::embedding>("embedding");
  visit.template operator()<&Backend::embedding_backward>("embedding_backward");
  visit.template operator()<&Backend::shift>("shift");
  visit.template operator()<&Backend::softmax_stats>("softmax_stats");
  visit.template operator()<&Backend::cross_entropy>("cross_entropy");
  visit.template operator()<&Backend::cross_entropy_backward>("cross_entropy_backward");
  visit.template operator()<&Backend::sum_of_squares>("sum_of_squares");
  visit.template operator()<&Backend::exact_sum>("exact_sum");
  visit.template operator()<&Backend::count_non_finite>("count_non_finite");
  visit.template operator()<&Backend::argmax>("argmax");
  visit.template operator()<&Backend::router_scores>("router_scores");
  visit.template operator()<&Backend::router_choose>("router_choose");
  visit.template operator()<&Backend::router_weights>("router_weights");
  visit.template operator()<&Backend::router_backward>("router_backward");
  visit.template operator()<&Backend::count_choices>("count_choices");
  visit.template operator()<&Backend::balance_shares>("balance_shares");
  visit.template operator()<&Backend::balance_loss>("balance_loss");
  visit.template operator()<&Backend::update_router_bias>("update_router_bias");
  visit.template operator()<&Backend::sort_slots>("sort_slots");
  visit.template operator()<&Backend::gather_rows>("gather_rows");
  visit.template operator()<&Backend::combine_rows>("combine_rows");
  visit.template operator()<&Backend::weigh_rows>("weigh_rows");
  visit.template operator()<&Backend::step_controls>("step_controls");
  visit.template operator()<&Backend::adamw_update>("adamw_update");
}

// The same table with, in place of each null, a function that throws Error{usage} naming the
// kernel and the backend.
Backend without_nulls(const Backend& backend);

}  // namespace tessera
