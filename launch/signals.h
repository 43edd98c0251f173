// SPDX-License-Identifier: Apache-2.0
// SIGUSR1 and SIGTERM ask a run to save and stop (mpirun forwards SIGUSR1 at once; Slurm sends it
// before preemption). The handler only sets a flag; a second signal ends the process at once.
#pragma once

namespace tessera {

void install_stop_signals();
bool stop_signalled();

}  // namespace tessera
