// SPDX-License-Identifier: Apache-2.0
// The communication that a rank has given to its device and that is not yet known to be done, in
// its order. The host does not wait for it (a stream does), so a peer that stopped would be noticed
// by nobody: the watchdog asks this book. Thread-safe: one thread writes, the watchdog's reads.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "kernels/base/stream.h"
#include "parallel/watchdog.h"

namespace tessera {

class LaunchedWork : public Overseen {
 public:
  // failure(): what the transport itself has found out; empty: nothing. Called by the watchdog.
  explicit LaunchedWork(std::function<std::string()> failure);
  ~LaunchedWork();
  LaunchedWork(const LaunchedWork&) = delete;
  LaunchedWork& operator=(const LaunchedWork&) = delete;

  void begin(std::string what);                  // it is about to be given to the device
  void launched(std::shared_ptr<Event> behind);  // it was; reached once it is done
  std::string trouble(double seconds) override;

 private:
  using Clock = std::chrono::steady_clock;
  struct Entry {
    std::string what;
    Clock::time_point since;
    std::shared_ptr<Event> behind;  // null: the call that gives it has not returned
  };
  void drop_finished();  // REQUIRES mutex_

  std::function<std::string()> failure_;
  std::mutex mutex_;
  std::deque<Entry> entries_;
  Clock::time_point moved_;  // when something was last seen to be done
  int64_t number_ = 0;       // of what was given so far
};

}  // namespace tessera
