// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "kernels/cpu_path.h"
#include "launch/verb/verbs.h"

namespace tessera {

std::string version_string() {
  return "tessera " TESSERA_VERSION;
}
std::string build_description() {
  return "compiled by " TESSERA_COMPILER;
}

int version_verb() {
  std::printf("%s\n%s\ncpu path %s (best of this machine: %s)\nformats: recipe 1, checkpoint 1\n",
              version_string().c_str(), build_description().c_str(), name(cpu_path()),
              name(best_cpu_path()));
  return 0;
}

}  // namespace tessera
