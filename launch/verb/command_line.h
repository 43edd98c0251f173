// SPDX-License-Identifier: Apache-2.0
// The command line from its words to the exit code of the verb that they chose.
#pragma once

namespace tessera {

// Never throws; every failure is one message on standard error and an exit code
// (docs/exit_codes.md).
int run_command_line(int argc, char** argv);

}  // namespace tessera
