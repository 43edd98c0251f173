// SPDX-License-Identifier: Apache-2.0
// These two functions turn the config.json of Hugging Face's transformers into ModelOptions and
// back.
#pragma once

#include <string>

#include "kernels/base/dtype.h"
#include "trainer/model/options.h"

namespace tessera {

// The model that a config.json describes: LlamaForCausalLM, Deepseek(V2|V3)ForCausalLM. A value
// that would change what is computed and that Tessera cannot honour is Error{checkpoint} naming
// `where` and the key.
ModelOptions model_of_config(const std::string& config, const std::string& where);
// The config.json of a model whose weights are stored in `dtype`.
std::string config_of_model(const ModelOptions& model, DType dtype);

}  // namespace tessera
