// SPDX-License-Identifier: Apache-2.0
#include "launch/version.h"

namespace tessera {

std::string version_string() {
  return "tessera " TESSERA_VERSION;
}

std::string build_description() {
  return "compiled by " TESSERA_COMPILER;
}

}  // namespace tessera
