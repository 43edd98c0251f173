// SPDX-License-Identifier: Apache-2.0
// Shell completion scripts, made from the table of verbs itself.
#pragma once

#include <string>

#include "launch/verb/verb.h"

namespace tessera {

// shell: bash, zsh or fish. After a verb the script offers its flags, and files.
std::string completion_script(const Verb& program, const std::string& shell);

}  // namespace tessera
