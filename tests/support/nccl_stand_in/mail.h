// SPDX-License-Identifier: Apache-2.0
// Letters between processes of the MPI job, each saying what it is about. Between two processes
// they are read in the order in which they were written, whatever communicator they belong to: so
// ranks that make their calls in different orders get letters about something else. Called by the
// thread that made MPI.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace nccl_stand_in {

int my_process();

struct Letter {
  std::string about;
  std::vector<std::byte> content;
};

// Lanes of letters that do not mix.
enum class Lane { call = 30001, init = 30002, list = 30003, split = 30004 };

void post(Lane lane, int process, const std::string& about, const void* data, size_t bytes);
Letter collect(Lane lane, int process);  // waits
// Nothing when none has come. process: kAnybody, or one.
inline constexpr int kAnybody = -1;
bool try_collect(Lane lane, int process, Letter& letter);

}  // namespace nccl_stand_in
