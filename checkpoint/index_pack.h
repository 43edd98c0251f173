// SPDX-License-Identifier: Apache-2.0
// An index as the bytes that ranks send each other: one rank reads thousands of index files and
// broadcasts them, a tenth of their JSON's parsing time for every other rank. Never on disk, never
// from a stranger: unpack_indexes() trusts what pack_indexes() of the same build made.
#pragma once

#include <string>
#include <vector>

#include "checkpoint/index.h"

namespace tessera {

std::string pack_indexes(const std::vector<ShardIndex>& indexes);
std::vector<ShardIndex> unpack_indexes(const std::string& bytes);

}  // namespace tessera
