// SPDX-License-Identifier: Apache-2.0
// A communicator of the stand-in: who is in it, and what it would accept now. Making one goes on
// step by step whenever its maker asks for its state, as NCCL's non-blocking communicators do, and
// an accepted call is "in progress" until the state was asked for once more.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "nccl.h"

struct ncclComm {
  std::string name;        // "all 1": the first of all ranks; "all 1/2": of its second split
  std::vector<int> ranks;  // processes of the MPI job
  int rank = 0;
  bool blocking = false;
  std::atomic<ncclResult_t> state{ncclInProgress};
  std::function<bool()> advance;       // being made: true when done
  ncclComm* parent = nullptr;          // of which the making is a part
  std::atomic<bool> unsettled{false};  // a call was accepted, and nobody asked for the state since
  std::atomic<bool> lost{false};       // a peer is gone, which only asking for the state tells
  int64_t calls = 0;
  int64_t splits = 0;
  std::thread::id maker = std::this_thread::get_id();

  int size() const { return static_cast<int>(ranks.size()); }
};

namespace nccl_stand_in {

// Says so on stderr and remembers it for ncclGetLastError().
ncclResult_t refuse(ncclResult_t result, const std::string& why);
// Whether a call is accepted now.
ncclResult_t accepts(const ncclComm* comm, const char* call);

}  // namespace nccl_stand_in
