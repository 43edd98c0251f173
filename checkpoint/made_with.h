// SPDX-License-Identifier: Apache-2.0
// Scalars whose names begin with this prefix tell how a checkpoint came about (tokenizer, data,
// recipe, program), not what it holds: two checkpoints that differ in nothing else are equal.
#pragma once

#include <string_view>

namespace tessera {

inline constexpr std::string_view kMadeWith = "made_with.";

}  // namespace tessera
