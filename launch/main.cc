// SPDX-License-Identifier: Apache-2.0
#include "launch/cli.h"

int main(int argc, char** argv) {
  return tessera::run_command_line(argc, argv);
}
