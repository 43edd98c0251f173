// SPDX-License-Identifier: Apache-2.0
// Stands between a job and our standard output and error. mpirun ends the whole job when the reader
// of its output goes away (it crashes, in fact); through a relay the job never notices.
#pragma once

#include <sys/types.h>

namespace tessera {

class OutputRelay {
 public:
  OutputRelay();  // makes the pipes; where that fails, the job writes to our descriptors itself
  ~OutputRelay();
  OutputRelay(const OutputRelay&) = delete;
  OutputRelay& operator=(const OutputRelay&) = delete;

  void become_output() const;  // in the job's process, before exec
  // Starts the process that copies, once the job's has been started.
  void start();
  // When the job has ended: waits until everything is copied, however slow the reader is, but not
  // for somebody else who has kept the pipes open. False when standard output could not be written.
  bool finish();

 private:
  [[noreturn]] void copy() const;
  void close_output();

  int out_[2] = {-1, -1}, err_[2] = {-1, -1};
  int ended_[2] = {-1, -1};  // closed when the job has ended
  pid_t copier_ = -1;
};

}  // namespace tessera
