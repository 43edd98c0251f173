// SPDX-License-Identifier: Apache-2.0
// Where all NCCL calls of a rank go, in one order, and the end of all of them when one fails. Kept
// beside nccl_communicator.cc, in libtessera_cuda.so: nothing else may see NCCL's types.
//
// Order. All groups of a rank share one Lane: one stream beside the one that computes, on which
// every call is launched in the order of the program. Programs of ranks are projections of one
// order of all calls (communicator.h, parallel/pipeline/communicate.h), so no two ranks can wait
// for each other, however few calls fit on a GPU at once. Messages that follow each other are
// launched as one NCCL group, in which they do not wait for each other either.
//
// Failure. Communicators do not block their caller: where NCCL must meet the other ranks before it
// can launch, the Lane asks until `patience` seconds are over (0: for ever). What goes wrong later,
// on the device, is found by the watchdog (launched_work.h). Either way Error{peer} or the exit
// code 7 is the end; all communicators are aborted first, so that nobody waits for the device.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <nccl.h>

#include "kernels/base/stream.h"
#include "parallel/transport/launched_work.h"

namespace tessera {

class NcclLane {
 public:
  NcclLane(Device device, double patience);

  Stream& stream() { return stream_; }
  cudaStream_t native() const;

  // What was queued in `other` so far comes before what is launched from now on.
  void follow(Stream& other);
  // calls(): calls of NCCL and kernels on stream(). What is returned is reached when they are done.
  using Calls = std::function<void()>;
  std::shared_ptr<Event> launch(ncclComm_t comm, const std::string& what, const Calls& calls);

  struct Message {
    ncclComm_t comm;
    bool sent;  // else received
    void* data;
    size_t bytes;
    int peer;
    std::string what;
  };
  struct Batch {
    std::shared_ptr<Event> behind;  // null: not launched
  };
  // Launched with its neighbours by the next flush(), which every launch() begins with.
  std::shared_ptr<Batch> post(Message message);
  void flush();

  // Of a communicator, from its making to its end. destroy() is collective over its ranks.
  void begin(const std::string& what);  // for messages; throws when the lane was stopped
  void add(ncclComm_t comm);
  void destroy(ncclComm_t comm) noexcept;
  // A result of a call of NCCL, about `comm` if that is known.
  void check(ncclResult_t result, ncclComm_t comm = nullptr);
  // Returns when the calls on `comm` so far are accepted: it takes no other before.
  void settle(ncclComm_t comm);

 private:
  using Clock = std::chrono::steady_clock;
  std::shared_ptr<Event> launch_now(const std::vector<ncclComm_t>& comms, const std::string& what,
                                    const Calls& calls);
  bool too_long_since(Clock::time_point start) const;
  std::string failure();  // by the watchdog's thread
  [[noreturn]] void stop(const std::string& why);

  Stream stream_;
  double patience_;
  std::string doing_;
  bool failed_ = false;
  std::mutex mutex_;  // comms_
  std::vector<ncclComm_t> comms_;
  std::vector<Message> messages_;
  std::shared_ptr<Batch> batch_ = std::make_shared<Batch>();
  LaunchedWork work_;
};

// Owns one ncclComm_t.
class NcclHandle {
 public:
  // make(&comm) asks NCCL for it; `what` it is, for messages.
  using Make = std::function<ncclResult_t(ncclComm_t* comm)>;
  NcclHandle(std::shared_ptr<NcclLane> lane, const std::string& what, const Make& make);
  ~NcclHandle() { lane_->destroy(comm_); }
  NcclHandle(const NcclHandle&) = delete;
  NcclHandle& operator=(const NcclHandle&) = delete;
  ncclComm_t get() const { return comm_; }
  NcclLane& lane() const { return *lane_; }

 private:
  std::shared_ptr<NcclLane> lane_;
  ncclComm_t comm_ = nullptr;
};

}  // namespace tessera
