// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/lease.h"

#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <mutex>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "checkpoint/lease_record.h"
#include "kernels/base/check.h"
#include "kernels/base/log.h"

namespace tessera {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;
constexpr int kIntervals = 3;  // of silence until a holder is taken for dead
constexpr int kMostTries = 100;
constexpr double kSecondsForName = 5;  // a living holder needs microseconds

[[noreturn]] void fail_errno(const std::string& path, const char* action) {
  fail(ErrorKind::storage,
       path + ": " + action + " failed: " + std::strerror(errno) +
           "; the lease that keeps two jobs from writing here could not be taken");
}

int64_t newest_generation(Storage& storage, const std::string& directory) {
  int64_t newest = 0;
  for (const std::string& name : storage.list(directory))
    newest = std::max(newest, parse_lease_name(name));
  return newest;
}

std::string holder_words(const LeaseRecord& record) {
  if (!record.known) return "a job that has not written its name";
  return "process " + std::to_string(record.pid) + " on host " + record.host + " since " +
         record.since;
}

// A job makes its file and then writes its name there. Whoever looked in between looks again, for
// the Error is to name the holder.
LeaseRecord with_name(Storage& storage, const std::string& directory, LeaseRecord record) {
  const auto start = Clock::now();
  while (!record.known && Seconds(Clock::now() - start).count() < kSecondsForName) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    if (const std::optional<LeaseRecord> now = newest_lease(storage, directory)) record = *now;
  }
  return record;
}

// Somebody holds the lock on this file. False also where the file system cannot tell.
bool is_locked(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  if (file < 0) return false;
  const bool locked = ::flock(file, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  ::close(file);
  return locked;
}

// The file must not be rewritten for three intervals of our own clock.
bool stands_still(Storage& storage, const std::string& directory, const LeaseRecord& first,
                  double interval) {
  const double limit = kIntervals * std::max(interval, first.interval_seconds);
  log::info("lease    " + directory + " is held by " + holder_words(first) +
            "; watching its heartbeat for up to " +
            std::to_string(static_cast<int64_t>(limit + 1)) + " s");
  const auto start = Clock::now();
  while (Seconds(Clock::now() - start).count() < limit) {
    std::this_thread::sleep_for(Seconds(std::min(1.0, limit / 20)));
    const std::optional<LeaseRecord> now = newest_lease(storage, directory);
    if (!now || now->released) return true;
    if (now->generation != first.generation || now->known != first.known || now->beat != first.beat)
      return false;
  }
  return true;
}

bool is_alive(Storage& storage, const std::string& directory, const LeaseRecord& record,
              double interval) {
  if (record.released) return false;
  if (is_locked(directory + "/" + lease_name(record.generation))) return true;
  switch (presence_of(record)) {
    case Presence::alive: return true;
    case Presence::gone: return false;
    case Presence::unknown: break;
  }
  return !stands_still(storage, directory, record, interval);
}

}  // namespace

std::optional<LeaseRecord> newest_lease(Storage& storage, const std::string& directory) {
  // The holder may give the directory to the next one while we look.
  for (int tries = 0; tries < kMostTries; ++tries) {
    if (!storage.exists(directory)) return std::nullopt;
    const int64_t generation = newest_generation(storage, directory);
    if (generation == 0) return std::nullopt;
    const std::string path = directory + "/" + lease_name(generation);
    try {
      return parse_lease(read_file(storage, path, 2 * kLeaseBytes), generation);
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::checkpoint) return parse_lease("", generation);
      if (storage.exists(path)) throw;
    }
  }
  return std::nullopt;
}

class Lease::Holder {
 public:
  Holder(std::string directory, LeaseRecord record, int file)
      : directory_(std::move(directory)), record_(std::move(record)), file_(file) {}

  ~Holder() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    wake_.notify_all();
    if (heart_.joinable()) heart_.join();
    record_.released = true;
    try {
      if (!is_newer()) write();
    } catch (const std::exception&) {  // the heartbeat has stopped: that says it, too
    }
    ::close(file_);
  }

  void start() {
    // Signals are for the threads that wait for them.
    sigset_t all, before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    heart_ = std::thread([this] { beat(); });
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  bool is_newer() const {
    PosixStorage storage;
    return newest_generation(storage, directory_) > record_.generation;
  }

  void went_on_from(int64_t step) {
    const std::lock_guard lock(mutex_);
    record_.line = record_.generation;
    record_.base = step;
    write();
  }

  void saved(int64_t step) {
    const std::lock_guard lock(mutex_);
    record_.saved = step;
    write();
  }

  const std::string& directory() const { return directory_; }
  const LeaseRecord& record() const { return record_; }
  bool lost() const { return lost_; }

  void write() {
    const std::string text = to_text(record_);
    if (::pwrite(file_, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size()) ||
        ::fsync(file_) != 0)
      fail_errno(directory_ + "/" + lease_name(record_.generation), "writing");
  }

 private:
  void beat() {
    std::unique_lock lock(mutex_);
    while (!wake_.wait_for(lock, Seconds(record_.interval_seconds), [this] { return ending_; })) {
      try {
        lost_ = is_newer();
        if (lost_) return;
        ++record_.beat;
        write();
      } catch (const std::exception&) {
        // The file system is out of reach now. The next beat may come through, and who takes the
        // directory in the meantime is noticed before the next commit.
      }
    }
  }

  std::string directory_;
  LeaseRecord record_;
  int file_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool ending_ = false;
  std::atomic<bool> lost_ = false;
  std::thread heart_;
};

std::unique_ptr<Lease> Lease::take(const std::string& directory, const LeaseOptions& options) {
  PosixStorage storage;
  LeaseRecord mine = record_of_this_process();
  mine.interval_seconds = options.interval_seconds;
  for (int tries = 0; tries < kMostTries; ++tries) {
    const std::optional<LeaseRecord> before = newest_lease(storage, directory);
    if (before && !options.take_over &&
        is_alive(storage, directory, *before, options.interval_seconds))
      fail(ErrorKind::busy, directory + " is held by " +
                                holder_words(with_name(storage, directory, *before)) +
                                "; wait until that has ended, or pass --take-over when it is gone "
                                "for certain");
    mine.generation = before ? before->generation + 1 : 1;
    mine.saved = before ? before->saved : -1;
    mine.line = before ? before->line : 0;
    mine.base = before ? before->base : -1;
    const std::string path = directory + "/" + lease_name(mine.generation);
    const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (file < 0 && errno == EEXIST) continue;  // another was quicker: it holds the directory now
    if (file < 0) fail_errno(path, "creating");
    auto holder = std::make_unique<Holder>(directory, mine, file);
    ::flock(file, LOCK_EX | LOCK_NB);  // where the file system has no locks, the heartbeat remains
    holder->write();
    storage.sync_directory(directory);
    if (holder->is_newer()) {  // our look was too old
      ::unlink(path.c_str());
      continue;
    }
    for (const std::string& name : storage.list(directory)) {
      const int64_t generation = parse_lease_name(name);
      if (generation > 0 && generation < mine.generation)
        ::unlink((directory + "/" + name).c_str());
    }
    holder->start();
    return std::unique_ptr<Lease>(new Lease(std::move(holder)));
  }
  fail(ErrorKind::busy, directory + ": other jobs keep taking this directory");
}

Lease::Lease(std::unique_ptr<Holder> holder) : holder_(std::move(holder)) {}
Lease::~Lease() = default;

const std::string& Lease::directory() const {
  return holder_->directory();
}
int64_t Lease::generation() const {
  return holder_->record().generation;
}
int64_t Lease::last_saved() const {
  return holder_->record().saved;
}
bool Lease::lost() const {
  return holder_->lost();
}
void Lease::went_on_from(int64_t step) {
  holder_->went_on_from(step);
}
void Lease::saved(int64_t step) {
  holder_->saved(step);
}

void Lease::check_held() const {
  if (!holder_->is_newer()) return;
  PosixStorage storage;
  const std::optional<LeaseRecord> now = newest_lease(storage, directory());
  fail(ErrorKind::busy, directory() + " has been taken over by " +
                            (now ? holder_words(*now) : "another job") +
                            "; this job writes nothing more into it");
}

}  // namespace tessera
