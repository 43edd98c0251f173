// SPDX-License-Identifier: Apache-2.0
#include "kernels/base/no_link.h"

#include <filesystem>

#include "kernels/base/check.h"

namespace tessera {

void refuse_link(const std::string& path) {
  std::error_code error;
  check(!std::filesystem::is_symlink(path, error), ErrorKind::storage,
        path + ": is a symbolic link and not written through; remove it");
}

}  // namespace tessera
