// SPDX-License-Identifier: Apache-2.0
#include "trainer/group_rule.h"

#include <algorithm>

#include "kernels/base/warning.h"
#include "trainer/model/router_layer.h"

namespace tessera {
namespace {

const char* const kMark = "expert_group_score";
const char* const kBestTwo = "best 2";

int64_t earlier_best(const ModelOptions& model) {
  return std::max<int64_t>(1, model.num_experts_per_tok / model.topk_group);
}

// With all groups kept, no rule changes a choice.
bool matters(const ModelOptions& model) {
  return model.has_experts() && model.has_selection_biases() && model.topk_group < model.n_group &&
         earlier_best(model) != kBestOfGroup;
}

}  // namespace

void record_group_rule(const ModelOptions& model, std::map<std::string, std::string>& scalars) {
  if (matters(model)) scalars[kMark] = kBestTwo;
}

std::string group_rule_warning(const ModelOptions& model, const Manifest& manifest) {
  const bool imported = manifest.run_id == "import" && manifest.step == 0;
  if (!matters(model) || imported || manifest.scalars.contains(kMark)) return "";
  return coded(
      Warning::earlier_group_rule,
      "step " + std::to_string(manifest.step) + " of run " + manifest.run_id +
          " was trained when groups of experts were scored by their best " +
          std::to_string(earlier_best(model)) +
          "; now, as in DeepSeek's code, by their best 2, so the model chooses other experts than "
          "it "
          "was trained with (num_experts_per_tok " +
          std::to_string(model.num_experts_per_tok) + ", topk_group " +
          std::to_string(model.topk_group) + "). Train it on, or use the version that saved it.");
}

}  // namespace tessera
