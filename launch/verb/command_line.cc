// SPDX-License-Identifier: Apache-2.0
#include "launch/verb/command_line.h"

#include "kernels/base/log.h"
#include "launch/failure.h"
#include "launch/job/signals.h"
#include "launch/report/console.h"
#include "launch/verb/parser.h"
#include "launch/verb/verbs.h"

namespace tessera {
namespace {

int run(const Verb& verb) {
  if (!verb.holds_stop_signals) release_stop_signals();
  return verb.run();
}

int parse_and_run(int argc, char** argv) {
  const Verb tessera = program();
  log::set_console(log::Level::info, stderr_wants_colour());
  const Parsed parsed = parse(tessera, argc, argv);
  return parsed.verb != nullptr && !parsed.exit_code ? run(*parsed.verb) : *parsed.exit_code;
}

}  // namespace

int run_command_line(int argc, char** argv) {
  // The parser, too, takes memory: whatever ends the program, it ends with a code that says why.
  int code = 0;
  try {
    code = parse_and_run(argc, argv);
  } catch (...) {
    code = tell(failure_in_hand());
  }
  return flush_output(code);
}

}  // namespace tessera
