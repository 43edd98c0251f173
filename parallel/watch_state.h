// SPDX-License-Identifier: Apache-2.0
// The threads that work tell the watchdog's thread here where they are. section.cc keeps the state,
// watchdog.cc looks at it; nobody else includes this.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "parallel/section.h"
#include "parallel/waiting_notes.h"
#include "parallel/watchdog.h"

namespace tessera::watch {

using Clock = std::chrono::steady_clock;

struct Running {
  SectionKind kind;
  std::string more;
  double own_limit;  // below 0: that of its kind
  const char* name_of_limit;
};

struct State {
  std::mutex mutex;  // guards all but the atomic members
  bool waiting = false;
  std::string what;  // the collective
  const Awaited* awaited = nullptr;
  int64_t number = 0;  // of collectives so far
  SectionLimits limits;
  std::vector<Running> sections;        // the innermost last
  std::vector<std::string> activities;  // likewise
  std::thread::id thread;               // of the sections
  std::vector<Overseen*> overseen;
  WaitingNotes notes;
  bool running = false;  // the watchdog's thread
  std::atomic<Clock::rep> moved{0};
  // There is a limit now: who waits without one need not build words that nobody will read.
  std::atomic<bool> watches{false};
};
State& state();

// After every change of the section or the limits; starts the thread when it is needed for the
// first time. REQUIRES state().mutex
void settle_limit();
void start_thread();  // watchdog.cc

struct Limit {
  double seconds;
  const char* name;
};

// A Sight is all that one look shows.
struct Sight {
  bool busy = false;       // it does not wait for others
  bool somewhere = false;  // it is known at what
  std::string where;       // empty: nothing to worry about yet
  std::string missing;     // who has not come, where that is known
  int64_t number = 0;
  Clock::rep moved = 0;
  double idle = 0;
  Limit limit{0, ""};

  bool same_as(const Sight& other) const { return number == other.number && moved == other.moved; }
};

// `woke`: when the whole process was last found to have been stopped. REQUIRES state().mutex
Sight look(Clock::time_point woke);

}  // namespace tessera::watch
