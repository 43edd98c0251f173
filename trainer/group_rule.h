// SPDX-License-Identifier: Apache-2.0
// Checkpoints record the rule by which groups of experts were dropped while they were trained.
// Earlier versions scored a group under topk_method noaux_tc by its best max(1,
// num_experts_per_tok / topk_group) experts; now it is the best two, as in DeepSeek's code. A model
// for which the two differ computes something else than it was trained to, so loading a checkpoint
// without the record is warned of.
#pragma once

#include <map>
#include <string>

#include "checkpoint/manifest.h"
#include "trainer/recipe.h"

namespace tessera {

// Adds the mark of the present rule to a checkpoint's scalars, for a model that it matters to.
void record_group_rule(const ModelOptions& model, std::map<std::string, std::string>& scalars);

// One sentence for a checkpoint that was trained under the earlier rule, with what to do; empty
// where there is nothing to say. model: that of the checkpoint's recipe. Weights that were imported
// and not trained since know no rule.
std::string group_rule_warning(const ModelOptions& model, const Manifest& manifest);

}  // namespace tessera
