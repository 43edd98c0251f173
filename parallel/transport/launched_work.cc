// SPDX-License-Identifier: Apache-2.0
#include "parallel/transport/launched_work.h"

#include <algorithm>
#include <utility>

namespace tessera {

LaunchedWork::LaunchedWork(std::function<std::string()> failure)
    : failure_(std::move(failure)), moved_(Clock::now()) {
  watch();
}

LaunchedWork::~LaunchedWork() {
  unwatch();
}

void LaunchedWork::begin(std::string what) {
  const std::lock_guard lock(mutex_);
  drop_finished();
  entries_.push_back({std::move(what) + " #" + std::to_string(++number_), Clock::now(), nullptr});
}

void LaunchedWork::launched(std::shared_ptr<Event> behind) {
  const std::lock_guard lock(mutex_);
  entries_.back().behind = std::move(behind);
}

void LaunchedWork::drop_finished() {
  while (!entries_.empty() && entries_.front().behind && entries_.front().behind->reached()) {
    entries_.pop_front();
    moved_ = Clock::now();
  }
}

// Since something moved, not since it was given: the host runs far ahead of a device that is busy.
std::string LaunchedWork::trouble(double seconds) {
  if (const std::string found = failure_(); !found.empty()) return found;
  const std::lock_guard lock(mutex_);
  drop_finished();
  if (entries_.empty()) return {};
  const Entry& oldest = entries_.front();
  const double waited =
      std::chrono::duration<double>(Clock::now() - std::max(moved_, oldest.since)).count();
  if (waited < seconds) return {};
  return oldest.what + " waited " + std::to_string(static_cast<int64_t>(waited)) +
         " s for the other ranks (on_failure.hang_timeout)";
}

}  // namespace tessera
