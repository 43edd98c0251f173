// SPDX-License-Identifier: Apache-2.0
#include "launch/cli.h"
#include "launch/signals.h"

int main(int argc, char** argv) {
  tessera::hold_stop_signals();
  return tessera::run_command_line(argc, argv);
}
