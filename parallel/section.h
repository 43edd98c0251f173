// SPDX-License-Identifier: Apache-2.0
// The parts of a run, each with a limit of time that fits it, so that nothing stands still for ever
// without a word, on one rank as on many: a file system that does not answer, a reader of standard
// error who has stopped reading, a peer that is gone, MPI itself. A thread of the watchdog
// (parallel/watchdog.h) looks once a second. When the part that is running has shown no sign of
// life for its limit, it names rank, section and place and ends the process with exit code 7.
//
// Signs of life are: a section, an activity or a wait for other ranks begins or ends, and moved().
// The limit is thus on one collective, one file, one microbatch, not on the whole section.
//
// A process that was stopped as a whole (SIGSTOP, a debugger, a paused machine) and wakes up gets
// the full limit anew: it must not take its own absence for that of others.
#pragma once

#include <string>

namespace tessera {

enum class SectionKind { init, load, step, eval, save, finalize };

// All limits are in seconds; 0 means never.
struct SectionLimits {
  double start = 1800;  // init (on_failure.start_timeout)
  double hang = 0;      // step, eval, finalize, and collectives outside any section
                        // (on_failure.hang_timeout)
  double save = 0;      // load, save (on_failure.save_timeout)
};
void set_section_limits(const SectionLimits& limits);

// The innermost section counts. For one thread, that which communicates.
class Section {
 public:
  // `more` completes the section's name in messages: "of step 10".
  explicit Section(SectionKind kind, const std::string& more = "");
  // This section has a limit of its own, whose name messages tell.
  Section(SectionKind kind, const std::string& more, double limit, const char* name_of_limit);
  ~Section();
  Section(const Section&) = delete;
  Section& operator=(const Section&) = delete;
};

// An activity tells what the process is at, as a clause that "has taken 5 s" can follow: "syncing
// FILE". On a thread other than that of the sections it does nothing.
class Activity {
 public:
  Activity(const char* doing, const std::string& what);
  ~Activity();
  Activity(const Activity&) = delete;
  Activity& operator=(const Activity&) = delete;

 private:
  bool counts_;
};

void moved();  // a sign of life; costs a look at the clock

// Ranks read each other's notes in `directory`: before a rank's patience ends, it writes into
// DIRECTORY/rank-NNNN.waiting where it is, so that whoever gives up first can name those that wrote
// nothing or are elsewhere, also over a transport that does not know who is missing. Removes what
// an earlier run left of this rank's. The notes go when what was waited for happens.
void keep_waiting_notes(const std::string& directory, int rank, int size);

}  // namespace tessera
