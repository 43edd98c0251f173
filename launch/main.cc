// SPDX-License-Identifier: Apache-2.0
#include "launch/job/signals.h"
#include "launch/verb/command_line.h"

int main(int argc, char** argv) {
  tessera::hold_stop_signals();
  return tessera::run_command_line(argc, argv);
}
