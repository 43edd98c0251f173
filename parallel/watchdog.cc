// SPDX-License-Identifier: Apache-2.0
#include "parallel/watchdog.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <unistd.h>

#include "kernels/base/check.h"
#include "kernels/base/log.h"
#include "parallel/section.h"
#include "parallel/waiting_notes.h"
#include "parallel/world.h"

namespace tessera {
namespace {

using Clock = std::chrono::steady_clock;

// A sleep of one second that took this long tells that the whole process was stopped.
constexpr double kStopped = 3;
// This part of the limit goes by before a rank writes where it is.
constexpr double kSuspicious = 0.75;
// Others may notice a little later that they wait; a file system or a log may not answer.
constexpr std::chrono::seconds kForOthers{2}, kForFiles{2};

struct Running {
  SectionKind kind;
  std::string more;
  double own_limit;  // below 0: that of its kind
  const char* name_of_limit;
};

struct State {
  std::mutex mutex;
  bool waiting = false;
  std::string what;  // the collective
  const Awaited* awaited = nullptr;
  int64_t number = 0;  // of collectives so far
  SectionLimits limits;
  std::vector<Running> sections;  // the innermost last
  std::vector<std::string> activities;
  std::thread::id thread;  // of the sections
  bool running = false;
  std::vector<Overseen*> overseen;
  WaitingNotes notes;
  std::atomic<Clock::rep> moved{0};
  // There is a limit now: who waits without one need not build words that nobody will read.
  std::atomic<bool> watches{false};
};

State& state() {
  static State& only = *new State;
  return only;
}

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

// Never through MPI or NCCL, which may be what hangs; and not for ever through the log, either.
[[noreturn]] void stop(const std::string& why) {
  within(kForFiles, [why] {
    log::error(why + "; stopping with exit code 7, a restart continues from the newest checkpoint");
    log::flush();
  });
  _exit(exit_code(ErrorKind::peer));
}

const char* word(SectionKind kind) {
  switch (kind) {
    case SectionKind::init: return "init";
    case SectionKind::load: return "load";
    case SectionKind::step: return "step";
    case SectionKind::eval: return "eval";
    case SectionKind::save: return "save";
    case SectionKind::finalize: return "end of the job";
  }
  return "";
}

struct Limit {
  double seconds;
  const char* name;
};

// REQUIRES state().mutex
Limit limit_of_now() {
  const SectionLimits& limits = state().limits;
  const Limit hang{limits.hang, "on_failure.hang_timeout"};
  if (state().sections.empty()) return hang;
  const Running& section = state().sections.back();
  if (section.own_limit >= 0) return {section.own_limit, section.name_of_limit};
  switch (section.kind) {
    case SectionKind::init: return {limits.start, "on_failure.start_timeout"};
    case SectionKind::load:
    case SectionKind::save: return {limits.save, "on_failure.save_timeout"};
    default: return hang;
  }
}

// What was seen at one look.
struct Sight {
  bool busy = false;       // it does not wait for others
  bool somewhere = false;  // it is known at what
  std::string where;
  std::string missing;  // who has not come, where that is known
  int64_t number = 0;
  Clock::rep moved = 0;
  double idle = 0;
  Limit limit{0, ""};

  bool same_as(const Sight& other) const { return number == other.number && moved == other.moved; }
};

// REQUIRES state().mutex
Sight look(Clock::time_point woke) {
  State& all = state();
  Sight sight;
  sight.limit = limit_of_now();
  sight.number = all.number;
  sight.moved = all.moved.load();
  if (!all.waiting && all.sections.empty()) return sight;
  const Clock::time_point since(Clock::duration(sight.moved));
  sight.idle = seconds_between(std::max(since, woke), Clock::now());
  if (sight.limit.seconds <= 0 || sight.idle < kSuspicious * sight.limit.seconds) return sight;
  if (!all.sections.empty()) {
    const Running& section = all.sections.back();
    sight.where = word(section.kind) + (section.more.empty() ? "" : " " + section.more) + ": ";
  }
  sight.busy = !all.waiting;
  sight.somewhere = all.waiting || !all.activities.empty();
  sight.where += all.waiting       ? all.what
                 : sight.somewhere ? all.activities.back()
                                   : "nothing has moved";
  if (all.awaited) sight.missing = all.awaited->missing();
  return sight;
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
  return look(woke);
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
      sight = look(woke);
    }
    notes.remove_outdated(sight);
    if (sight.where.empty()) continue;
    notes.write(sight);
    if (sight.idle >= sight.limit.seconds) accuse(sight, woke, notes);
  }
}

// After every change of the section or the limits. REQUIRES state().mutex
void settle_limit() {
  state().watches = limit_of_now().seconds > 0;
  if (!state().watches || std::exchange(state().running, true)) return;
  std::thread(watch_for_ever).detach();
}

}  // namespace

void set_section_limits(const SectionLimits& limits) {
  const std::lock_guard lock(state().mutex);
  state().limits = limits;
  moved();
  settle_limit();
}

void set_hang_timeout(double seconds) {
  const std::lock_guard lock(state().mutex);
  state().limits.hang = seconds;
  moved();
  settle_limit();
}

void keep_waiting_notes(const std::string& directory, int rank, int size) {
  const WaitingNotes notes(directory, rank, size);
  notes.remove();
  const std::lock_guard lock(state().mutex);
  state().notes = notes;
}

void moved() {
  state().moved.store(Clock::now().time_since_epoch().count(), std::memory_order_relaxed);
}

Section::Section(SectionKind kind, const std::string& more) : Section(kind, more, -1, "") {}

Section::Section(SectionKind kind, const std::string& more, double limit,
                 const char* name_of_limit) {
  moved();
  const std::lock_guard lock(state().mutex);
  state().thread = std::this_thread::get_id();
  state().sections.push_back({kind, more, limit, name_of_limit});
  settle_limit();
}

Section::~Section() {
  moved();
  const std::lock_guard lock(state().mutex);
  state().sections.pop_back();
  settle_limit();
}

Activity::Activity(const char* doing, const std::string& what) : counts_(false) {
  if (!state().watches) return;
  const std::lock_guard lock(state().mutex);
  if (state().thread != std::this_thread::get_id()) return;
  counts_ = true;
  moved();
  state().activities.push_back(std::string(doing) + " " + what);
}

Activity::~Activity() {
  if (!counts_) return;
  moved();
  const std::lock_guard lock(state().mutex);
  state().activities.pop_back();
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
