// SPDX-License-Identifier: Apache-2.0
#include "trainer/model/options.h"

#include "kernels/router.h"

namespace tessera {

Scoring ModelOptions::scoring() const {
  return scoring_func.value_or(architecture == Architecture::deepseek_v3 ? Scoring::sigmoid
                                                                         : Scoring::softmax);
}

Selection ModelOptions::selection() const {
  if (topk_method) return *topk_method;
  if (architecture == Architecture::deepseek_v3) return Selection::noaux_tc;
  return n_group > 1 ? Selection::group_limited_greedy : Selection::greedy;
}

bool ModelOptions::normalizes_topk() const {
  return norm_topk_prob.value_or(architecture == Architecture::deepseek_v3);
}

}  // namespace tessera
