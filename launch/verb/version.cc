// SPDX-License-Identifier: Apache-2.0
// `tessera version`.
#include "launch/version.h"

#include <cstdio>

#include "kernels/cpu_path.h"
#include "launch/verb/verbs.h"

namespace tessera {
namespace {

int print_version() {
  std::printf("%s\n%s\ncpu path %s (best of this machine: %s)\nformats: recipe 1, checkpoint 1\n",
              version_string().c_str(), build_description().c_str(), name(cpu_path()),
              name(best_cpu_path()));
  return 0;
}

}  // namespace

Verb version_verb() {
  return {.name = "version", .help = "version and build", .run = print_version};
}

}  // namespace tessera
