// SPDX-License-Identifier: Apache-2.0
// Files with names that anybody can guess, in directories that others may write: a link put there
// beforehand would send what we write into somebody else's file.
#pragma once

#include <string>

namespace tessera {

// Error{storage} when `path` is a symbolic link; nothing at all may stand there.
void refuse_link(const std::string& path);

}  // namespace tessera
