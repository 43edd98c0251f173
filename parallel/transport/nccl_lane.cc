// SPDX-License-Identifier: Apache-2.0
#include "parallel/transport/nccl_lane.h"

#include <exception>
#include <utility>

#include <sched.h>

#include "kernels/base/check.h"
#include "kernels/base/trace.h"
#include "parallel/transport/progress.h"

namespace tessera {

NcclLane::NcclLane(Device device, double patience)
    : stream_(device, Stream::Queue::communication),
      patience_(patience),
      work_([this] { return failure(); }) {}

// A queue of kernels/cuda/runtime.cc is CUDA's stream itself.
cudaStream_t NcclLane::native() const {
  return reinterpret_cast<cudaStream_t>(stream_.queue());
}

void NcclLane::follow(Stream& other) {
  Event now(stream_.device());
  now.record(other);
  now.hold(stream_);
}

std::shared_ptr<Event> NcclLane::launch(ncclComm_t comm, const std::string& what,
                                        const Calls& calls) {
  flush();
  return launch_now({comm}, what, calls);
}

std::shared_ptr<NcclLane::Batch> NcclLane::post(Message message) {
  messages_.push_back(std::move(message));
  return batch_;
}

void NcclLane::flush() {
  if (messages_.empty()) return;
  const std::vector<Message> messages = std::exchange(messages_, {});
  const auto batch = std::exchange(batch_, std::make_shared<Batch>());
  std::vector<ncclComm_t> comms;
  for (const Message& message : messages) comms.push_back(message.comm);
  batch->behind = launch_now(comms, messages.front().what, [&] {
    check(ncclGroupStart());
    for (const auto& [comm, sent, data, bytes, peer, what] : messages)
      check(sent ? ncclSend(data, bytes, ncclInt8, peer, comm, native())
                 : ncclRecv(data, bytes, ncclInt8, peer, comm, native()));
    check(ncclGroupEnd());
  });
}

std::shared_ptr<Event> NcclLane::launch_now(const std::vector<ncclComm_t>& comms,
                                            const std::string& what, const Calls& calls) {
  const trace::Range range(stream_, "comm", [&] { return what; });
  begin(what);
  work_.begin(what);
  calls();
  for (const ncclComm_t comm : comms) settle(comm);
  auto behind = std::make_shared<Event>(stream_.device());
  behind->record(stream_);
  work_.launched(behind);
  return behind;
}

void NcclLane::begin(const std::string& what) {
  tessera::check(!failed_, ErrorKind::peer, "NCCL was stopped before:", what);
  doing_ = what;
}

void NcclLane::add(ncclComm_t comm) {
  const std::lock_guard lock(mutex_);
  comms_.push_back(comm);
}

void NcclLane::destroy(ncclComm_t comm) noexcept {
  {
    const std::lock_guard lock(mutex_);
    std::erase(comms_, comm);
  }
  if (failed_ || std::uncaught_exceptions() > 0) return;  // the process is about to end
  ncclResult_t state = ncclCommFinalize(comm);
  const auto start = Clock::now();
  while (state == ncclInProgress && !too_long_since(start)) {
    if (ncclCommGetAsyncError(comm, &state) != ncclSuccess) return;
    sched_yield();
  }
  if (state == ncclSuccess) (void)ncclCommDestroy(comm);
}

void NcclLane::check(ncclResult_t result, ncclComm_t comm) {
  if (result == ncclSuccess || result == ncclInProgress) return;
  const char* more = ncclGetLastError(comm);
  stop(std::string(ncclGetErrorString(result)) +
       (more != nullptr && *more != '\0' ? std::string(": ") + more : std::string()));
}

void NcclLane::settle(ncclComm_t comm) {
  const auto start = Clock::now();
  ncclResult_t state = ncclInProgress;
  for (;;) {
    check(ncclCommGetAsyncError(comm, &state), comm);
    check(state, comm);
    if (state == ncclSuccess) return;
    if (too_long_since(start))
      stop("not all of its ranks came within " + std::to_string(static_cast<int64_t>(patience_)) +
           " s (on_failure.hang_timeout)");
    if (!progress_everything()) sched_yield();
  }
}

bool NcclLane::too_long_since(Clock::time_point start) const {
  return patience_ > 0 && std::chrono::duration<double>(Clock::now() - start).count() > patience_;
}

std::string NcclLane::failure() {
  const std::lock_guard lock(mutex_);
  for (const ncclComm_t comm : comms_) {
    ncclResult_t state = ncclSuccess;
    const ncclResult_t asked = ncclCommGetAsyncError(comm, &state);
    if (asked == ncclSuccess && (state == ncclSuccess || state == ncclInProgress)) continue;
    return std::string("NCCL: ") + ncclGetErrorString(asked == ncclSuccess ? state : asked);
  }
  return {};
}

void NcclLane::stop(const std::string& why) {
  failed_ = true;
  {
    const std::lock_guard lock(mutex_);
    for (const ncclComm_t comm : comms_) (void)ncclCommAbort(comm);
    comms_.clear();
  }
  fail(ErrorKind::peer, "NCCL: " + doing_ + ": " + why);
}

NcclHandle::NcclHandle(std::shared_ptr<NcclLane> lane, const std::string& what, const Make& make)
    : lane_(std::move(lane)) {
  lane_->begin("making " + what);
  lane_->check(make(&comm_));
  lane_->add(comm_);
  lane_->settle(comm_);
}

}  // namespace tessera
