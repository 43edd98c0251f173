// SPDX-License-Identifier: Apache-2.0
#include "parallel/watchdog.h"

#include <condition_variable>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include <unistd.h>

#include "kernels/base/check.h"
#include "kernels/base/log.h"
#include "parallel/watch_state.h"

namespace tessera {
namespace {

using watch::Clock;
using watch::Sight;
using watch::state;

// A sleep of one second that took this long tells that the whole process was stopped.
constexpr double kStopped = 3;
// Others may notice a little later that they wait; a file system or a log may not answer.
constexpr std::chrono::seconds kForOthers{2}, kForFiles{2};

double seconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

// Runs `job` on a thread of its own; false when it has not ended in time, and is left behind. What
// it needs must be its own.
bool within(std::chrono::seconds time, std::function<void()> job) {
  struct Done {
    std::mutex mutex;
    std::condition_variable signal;
    bool yes = false;
  };
  const auto done = std::make_shared<Done>();
  std::thread([done, job = std::move(job)] {
    job();
    const std::lock_guard lock(done->mutex);
    done->yes = true;
    done->signal.notify_all();
  }).detach();
  std::unique_lock lock(done->mutex);
  return done->signal.wait_for(lock, time, [&] { return done->yes; });
}

// This goes neither through MPI nor through NCCL, which may be what hangs, and does not wait for
// the log for ever, either.
[[noreturn]] void stop(const std::string& why) {
  within(kForFiles, [why] {
    log::error(why + "; stopping with exit code 7, a restart continues from the newest checkpoint");
    log::flush();
  });
  _exit(exit_code(ErrorKind::peer));
}

// The files of all ranks' notes, which may not answer.
class Notes {
 public:
  void write(const Sight& sight) {
    if (written_.same_as(sight) || broken_) return;
    written_ = sight;
    has_written_ = true;
    const WaitingNotes notes = copy();
    broken_ = !within(kForFiles, [=] { notes.write(sight.busy, sight.where); });
  }
  void remove_outdated(const Sight& sight) {
    if (!has_written_ || written_.same_as(sight) || broken_) return;
    has_written_ = false;
    const WaitingNotes notes = copy();
    broken_ = !within(kForFiles, [=] { notes.remove(); });
  }
  bool everybody_wrote() {
    return answer<bool>(false, [](const WaitingNotes& notes) { return notes.everybody_wrote(); });
  }
  std::string missing(const std::string& where) {
    return answer<std::string>("", [=](const WaitingNotes& notes) { return notes.missing(where); });
  }

 private:
  static WaitingNotes copy() {
    const std::lock_guard lock(state().mutex);
    return state().notes;
  }
  template <typename T, typename Ask>
  T answer(T otherwise, Ask ask) {
    if (broken_) return otherwise;
    const auto found = std::make_shared<T>(otherwise);
    broken_ = !within(kForFiles, [=, notes = copy()] { *found = ask(notes); });
    return broken_ ? otherwise : *found;
  }

  Sight written_;
  bool has_written_ = false, broken_ = false;
};

Sight look_again(Clock::time_point woke) {
  const std::lock_guard lock(state().mutex);
  return watch::look(woke);
}

// Gives the others time to write where they are. Returns when something has moved after all.
void accuse(const Sight& sight, Clock::time_point woke, Notes& notes) {
  std::string missing = sight.missing;
  if (!sight.busy && missing.empty()) {
    for (const auto start = Clock::now();
         Clock::now() - start < kForOthers && !notes.everybody_wrote();)
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    if (!look_again(woke).same_as(sight)) return;
    missing = notes.missing(sight.where);
    if (missing.empty()) missing = "the other ranks";
  }
  const std::string seconds = std::to_string(static_cast<int64_t>(sight.idle)) + " s";
  const std::string tail = std::string(" (") + sight.limit.name + ")";
  if (sight.busy) stop(sight.where + (sight.somewhere ? " has taken " : " for ") + seconds + tail);
  stop(sight.where + " #" + std::to_string(sight.number) + " waited " + seconds + " for " +
       missing + tail);
}

// REQUIRES state().mutex. After the process was stopped nothing is known of how long others took.
void look_at_overseen(double since_woke) {
  const double timeout = state().limits.hang;
  if (timeout <= 0) return;
  const double patience = since_woke < timeout ? std::numeric_limits<double>::infinity() : timeout;
  for (Overseen* each : state().overseen)
    if (const std::string trouble = each->trouble(patience); !trouble.empty()) stop(trouble);
}

void watch_for_ever() {
  Notes notes;
  Clock::time_point woke{};
  for (;;) {
    const auto before = Clock::now();
    std::this_thread::sleep_for(std::chrono::seconds(1));
    if (seconds_between(before, Clock::now()) > kStopped) woke = Clock::now();
    Sight sight;
    {
      const std::lock_guard lock(state().mutex);
      look_at_overseen(seconds_between(woke, Clock::now()));
      sight = watch::look(woke);
    }
    notes.remove_outdated(sight);
    if (sight.where.empty()) continue;
    notes.write(sight);
    if (sight.idle >= sight.limit.seconds) accuse(sight, woke, notes);
  }
}

}  // namespace

void watch::start_thread() {
  std::thread(watch_for_ever).detach();
}

Watched::Watched(const std::string& group, const char* operation, const char* tag, int64_t bytes,
                 const Awaited* awaited)
    : range_("comm", [&] { return std::string(operation) + " " + group + " " + tag; }) {
  const std::lock_guard lock(state().mutex);
  ++state().number;
  state().waiting = true;
  moved();
  state().awaited = awaited;
  if (!state().watches) return;
  state().what = std::string(operation) + " (group " + group + ", " + std::to_string(bytes) +
                 " bytes" + (*tag ? std::string(", ") + tag : std::string()) + ")";
}

Watched::~Watched() {
  moved();
  const std::lock_guard lock(state().mutex);
  state().waiting = false;
  state().awaited = nullptr;
}

void Overseen::watch() {
  const std::lock_guard lock(state().mutex);
  state().overseen.push_back(this);
}

void Overseen::unwatch() {
  const std::lock_guard lock(state().mutex);
  std::erase(state().overseen, this);
}

}  // namespace tessera
