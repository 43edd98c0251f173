// SPDX-License-Identifier: Apache-2.0
// The rows of the key table (fields.h) by section, in the order of the documentation.
#pragma once

#include "launch/recipe/fields.h"

namespace tessera {

std::vector<RecipeField> model_fields();      // model
std::vector<RecipeField> data_fields();       // data, batch, parallel
std::vector<RecipeField> optimizer_fields();  // precision, optimizer, lr_schedule
std::vector<RecipeField> router_fields();     // router, mtp
std::vector<RecipeField> run_fields();        // run, checkpoint, on_failure, metrics, profile

}  // namespace tessera
