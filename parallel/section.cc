// SPDX-License-Identifier: Apache-2.0
#include "parallel/section.h"

#include <algorithm>
#include <utility>

#include "parallel/watch_state.h"
#include "parallel/world.h"

namespace tessera {
namespace watch {
namespace {

// This part of the limit goes by before a rank writes where it is.
constexpr double kSuspicious = 0.75;

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

}  // namespace

State& state() {
  static State& only = *new State;
  return only;
}

void settle_limit() {
  state().watches = limit_of_now().seconds > 0;
  if (state().watches && !std::exchange(state().running, true)) start_thread();
}

Sight look(Clock::time_point woke) {
  State& all = state();
  Sight sight;
  sight.limit = limit_of_now();
  sight.number = all.number;
  sight.moved = all.moved.load();
  if (!all.waiting && all.sections.empty()) return sight;
  const Clock::time_point since(Clock::duration(sight.moved));
  sight.idle = std::chrono::duration<double>(Clock::now() - std::max(since, woke)).count();
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

}  // namespace watch

using watch::settle_limit;
using watch::state;

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
  state().moved.store(watch::Clock::now().time_since_epoch().count(), std::memory_order_relaxed);
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

}  // namespace tessera
