// SPDX-License-Identifier: Apache-2.0
// The job this process belongs to: MPI from start to end (RAII), ranks, threads, and the way out.
// Created once by main, before any kernel runs. Before MPI_Init it asks Open MPI to yield while
// waiting (oversubscribed ranks would otherwise spin each other to a halt); after it, it divides
// the node's cores among the node's ranks (OMP_NUM_THREADS wins) and lets all ranks agree on the
// lowest instruction-set path among them. A rank that does not come within TESSERA_START_TIMEOUT
// seconds (600; 0: never) ends the job with exit code 7.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "parallel/communicator.h"

namespace tessera {

class World {
 public:
  World();
  ~World();  // MPI_Finalize, except after an error: then the process must abort()
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  int rank() const;
  int size() const;
  int local_rank() const;  // among the ranks of this node
  int local_size() const;
  bool launched() const;        // started by mpirun or srun rather than alone
  std::string library() const;  // "Open MPI 4.1.4"
  Communicator& all() const;    // the group of all ranks

  // The group of `ranks` (which include mine). Collective over the whole world: every rank calls
  // it at the same point with its own group, groups being disjoint. Over shared memory when its
  // ranks are on one node (parallel/transport/transports.h), unless MPI is asked for.
  std::unique_ptr<Communicator> group(const std::vector<int>& ranks, const std::string& label);
  std::unique_ptr<Communicator> mpi_group(const std::vector<int>& ranks, const std::string& label);

  // Ends the whole job at once with this exit code. Never returns, never waits.
  [[noreturn]] static void abort(int exit_code);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// After `seconds` without progress inside one collective, a thread of its own logs which
// collective of which group waited and ends the process with exit code 7. 0 switches it off. The
// same as `hang` of parallel/section.h.
void set_hang_timeout(double seconds);

}  // namespace tessera
