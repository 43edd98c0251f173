// SPDX-License-Identifier: Apache-2.0
// SIGINT, SIGTERM, SIGHUP and SIGUSR1 ask a training run to save and stop. The handler only keeps
// the request, so it may be installed before anything else exists; whoever can act on it asks. A
// second request ends the process at once with exit code 128 + its number. What arrives within a
// fifth of a second of the first is the same request: a shell passes on the SIGHUP of its
// terminal, timeout(1) signals its child and then the child's process group.
#pragma once

namespace tessera {

// main() calls this first, since until then a signal ends the process. SIGPIPE is ignored from here
// on, so that a reader who goes away costs lines of output and not the run. A signal that was
// ignored by the parent (nohup) stays ignored. Standard descriptors that are closed are opened, so
// that no file of ours gets the number of one and receives what is printed.
void hold_stop_signals();

// For what has nothing to save: signals do again what they did before hold_stop_signals(), and one
// that has arrived since does so now.
void release_stop_signals();

bool stop_signalled();
int first_stop_signal();  // its number; 0: none has arrived

}  // namespace tessera
