// SPDX-License-Identifier: Apache-2.0
// Scalars of a checkpoint as text, to travel between ranks: one NAME=VALUE a line.
#pragma once

#include <map>
#include <string>

namespace tessera {

// Throws Error{internal} for a name with '=' or a line break, or a value with a line break.
std::string to_lines(const std::map<std::string, std::string>& scalars);
// Throws Error{internal} for a line without '='.
std::map<std::string, std::string> from_lines(const std::string& text);

}  // namespace tessera
