// SPDX-License-Identifier: Apache-2.0
// Shell completion scripts, made from the tree of verbs and flags itself.
#pragma once

#include <string>
#include <vector>

namespace tessera {

struct VerbNode {
  std::string name;
  std::string help;
  std::vector<std::string> flags;  // "--json"
  std::vector<VerbNode> verbs;
};

// shell: bash, zsh or fish. After a verb the script offers its flags, and files.
std::string completion_script(const VerbNode& program, const std::string& shell);

}  // namespace tessera
