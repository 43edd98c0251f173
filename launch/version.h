// SPDX-License-Identifier: Apache-2.0
// The words by which the program names itself: "tessera 0.1.0", and what this build is made of.
#pragma once

#include <string>

namespace tessera {

std::string version_string();
std::string build_description();

}  // namespace tessera
