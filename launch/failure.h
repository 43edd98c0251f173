// SPDX-License-Identifier: Apache-2.0
// Exceptions become words and exit codes (docs/exit_codes.md) here, whichever verb they end and on
// however many ranks.
#pragma once

#include <string>

namespace tessera {

struct Failure {
  std::string words;
  int exit_code = 0;
  bool is_error = true;  // to be logged as an error; false: the words are printed as they are
};

// Translates the exception that is being handled: to be called in `catch (...)`. Memory that ran
// out, also for a thread, is `capacity` and says what to do; what nobody foresaw is `internal`.
Failure failure_in_hand() noexcept;

// Says the words on standard error and returns the exit code.
int tell(const Failure& failure) noexcept;

// Writes what stdio still keeps of standard output and returns the exit code of a program that
// would end with `code`: that of `storage`, with words on standard error, when some of the output
// could not be written and the code was 0.
int flush_output(int code);

}  // namespace tessera
