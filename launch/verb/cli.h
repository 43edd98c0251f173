// SPDX-License-Identifier: Apache-2.0
// The command line: verbs and flags -> the functions of verbs.h. The only home of CLI11.
#pragma once

namespace tessera {

// Never throws; every failure is one message on standard error and an exit code
// (docs/exit_codes.md).
int run_command_line(int argc, char** argv);

}  // namespace tessera
