// SPDX-License-Identifier: Apache-2.0
// Who may write into a directory: one job at a time, by a file LEASE.N in it, where N is the job's
// generation. A job becomes the holder by creating the file of the next generation, which exactly
// one can do; it never touches another's file. So a holder that was paused and taken for dead can
// do no harm when it wakes up: it finds a newer generation, and what it may still commit in the
// very last moment carries its own, older one (checkpoint/line.h leaves that out).
//
// The holder's heartbeat is a counter in its file. It is dead when the lock on its file is free or
// its process is gone (same machine and process namespace), or when the counter stood still for
// three intervals of the observer's own monotonic clock. Clocks of different machines are never
// compared. Used by one rank of a job.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "checkpoint/storage.h"

namespace tessera {

inline constexpr const char* kLeasePrefix = "LEASE.";

struct LeaseRecord {
  int64_t generation = 0;
  std::string host;
  int64_t pid = 0;
  std::string process;  // pid, start time, boot and process namespace: equal only for one process
  std::string since;    // for people, UTC: "2026-11-30 13:08:37 UTC"
  // The newest decision about the line: the job of generation `line` went on from the step `base`
  // in this directory (-1: from none). Line 0: nobody has decided yet.
  int64_t line = 0;
  int64_t base = -1;
  int64_t saved = -1;  // the last step saved, by this holder or one before it; -1: none
  bool known = true;   // false: the file is empty or torn, only its generation is known
  bool released = false;
  int64_t beat = 0;
  double interval_seconds = 0;
};

// The record of the newest generation in `directory`; nullopt when no job ever held it or when the
// directory does not exist. Error{storage} when it cannot be read now.
std::optional<LeaseRecord> newest_lease(Storage& storage, const std::string& directory);

struct LeaseOptions {
  bool take_over = false;        // also from a holder that seems to be alive
  double interval_seconds = 10;  // of the heartbeat
};

class Lease {
 public:
  // `directory` exists. Returns as its only holder. Error{busy} that names the holder when there is
  // one already; that is known at once for a process of this machine and takes up to three
  // intervals for another's. Error{storage} when the directory cannot be written.
  static std::unique_ptr<Lease> take(const std::string& directory,
                                     const LeaseOptions& options = {});
  ~Lease();  // gives it back
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  const std::string& directory() const;
  int64_t generation() const;
  int64_t last_saved() const;  // LeaseRecord::saved
  // Error{busy} when a newer generation exists: nothing may be written any more.
  void check_held() const;
  // The heartbeat has found a newer generation; may be called from any thread.
  bool lost() const;
  // Both are durable when they return.
  void went_on_from(int64_t step);
  void saved(int64_t step);

 private:
  class Holder;
  explicit Lease(std::unique_ptr<Holder> holder);
  std::unique_ptr<Holder> holder_;
};

}  // namespace tessera
