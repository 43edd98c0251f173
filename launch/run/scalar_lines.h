// SPDX-License-Identifier: Apache-2.0
// Scalars of a checkpoint as text, to travel between ranks: one NAME=VALUE a line.
#pragma once

#include <map>
#include <string>

namespace tessera {

// No name holds '=' or a line break, and no value a line break.
std::string to_lines(const std::map<std::string, std::string>& scalars);
std::map<std::string, std::string> from_lines(const std::string& text);

}  // namespace tessera
