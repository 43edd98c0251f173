// SPDX-License-Identifier: Apache-2.0
// An index as the bytes that ranks send each other: each reads and parses some of thousands of
// index files; unpacking what the others read costs a tenth of that. Never on disk, never from a
// stranger: unpack_indexes() trusts what pack_indexes() of the same build made.
#pragma once

#include <string>
#include <vector>

#include "checkpoint/index.h"

namespace tessera {

std::string pack_indexes(const std::vector<ShardIndex>& indexes);
std::vector<ShardIndex> unpack_indexes(const std::string& bytes);

}  // namespace tessera
