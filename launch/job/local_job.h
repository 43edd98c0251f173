// SPDX-License-Identifier: Apache-2.0
// Several ranks of this program on one machine: the mpirun command line that suits its cores, and
// the job that this line starts. What is right for a machine is a pure function of what is known
// about it, so that a machine with 128 cores fits in a unit test.
//
// Measured with Open MPI 4.1.4: ranks are bound to cores of the whole machine even when mpirun
// itself may use only a few of them, so ranks are bound only where mpirun may use all; called by
// its path it takes a part of that for a prefix, so it is looked up on the PATH; on SIGTERM or
// SIGINT it kills the ranks and returns 1, SIGUSR1 it passes on at once; without TCP among the
// transports ranks listen on no port, but mpirun itself does, on all interfaces, whatever it is
// told.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace tessera {

struct Machine {
  int threads = 1;              // hardware threads that this process may use
  int cores = 1;                // cores that they lie on: Open MPI's slots
  bool whole = true;            // they are all the threads of the machine
  bool root = false;            // mpirun refuses root unless two variables are set
  bool has_mpirun = false;      // on the PATH
  bool threads_chosen = false;  // OMP_NUM_THREADS is set
  bool network_chosen = false;  // OMPI_MCA_btl, _oob or _oob_tcp_if_include is set
};
Machine this_machine();

struct LocalCommand {
  std::vector<std::string> words;                                // the program first
  std::vector<std::pair<std::string, std::string>> environment;  // in addition to ours
  std::string note;  // "2 cores, 1 thread a rank": why the line looks as it does

  std::string to_string() const;      // the words, as a shell reads them
  std::string to_shell_line() const;  // the same after the environment
};

// `program`: a path and its arguments, which each of `ranks` ranks runs. One rank a group of cores
// with as many threads; more ranks than cores share them all and yield while they wait.
// Throws Error{usage} when ranks < 1 or when there is no mpirun.
LocalCommand local_command(const Machine& machine, int ranks,
                           const std::vector<std::string>& program);

// OnStop says what becomes of SIGINT, SIGTERM, SIGHUP and SIGUSR1.
// `end`: they go on to the job.
// `save`: the first one becomes SIGUSR1, which the ranks of `tessera train` answer with a
// checkpoint and exit code 75. It is held back until they keep signals, which rank 0 tells through
// TESSERA_READY_FILE (launch/job/ready_file.h); only SIGINT ends a job that is not that far. A
// second SIGINT, SIGTERM or SIGHUP ends the job at once, a third one kills mpirun.
enum class OnStop { end, save };

// Runs the job to its end; its output is ours. A signal that hold_stop_signals() has kept since the
// program began counts as the first one.
// Returns the exit code of the first rank that failed, 128 + the signal when a signal ended it.
// Throws Error{usage} when the program cannot be started, or when this is a rank of a job itself.
// Not for use beside other threads.
int run_local(const LocalCommand& command, OnStop on_stop);

// The path of this very program.
std::string this_program();

}  // namespace tessera
