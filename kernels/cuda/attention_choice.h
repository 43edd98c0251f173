// SPDX-License-Identifier: Apache-2.0
// Whose attention runs: the environment variable TESSERA_ATTENTION, own (the default) or cudnn,
// read anew by each call so that a benchmark can time both. Kept inside kernels/cuda.
#pragma once

#include <cstdlib>
#include <string_view>

#include "kernels/base/check.h"

namespace tessera::cuda {

// Throws Error{usage} where it is another word.
inline bool wants_library_attention() {
  const char* const text = std::getenv("TESSERA_ATTENTION");
  const std::string_view wish = text == nullptr || *text == '\0' ? "own" : text;
  check(wish == "own" || wish == "cudnn", ErrorKind::usage, "TESSERA_ATTENTION is", wish,
        "but must be own or cudnn");
  return wish == "cudnn";
}

}  // namespace tessera::cuda
