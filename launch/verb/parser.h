// SPDX-License-Identifier: Apache-2.0
// Command lines are parsed by the rows of verbs. parser.cc is the only home of CLI11.
#pragma once

#include <optional>

#include "launch/verb/verb.h"

namespace tessera {

// Writes what the words ask for into the targets of their flags, and returns the verb they chose.
// Where there is nothing to run, help or a message was printed and exit_code is set.
struct Parsed {
  const Verb* verb = nullptr;
  std::optional<int> exit_code{};
};
Parsed parse(const Verb& program, int argc, char** argv);

}  // namespace tessera
