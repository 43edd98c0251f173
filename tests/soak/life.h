// SPDX-License-Identifier: Apache-2.0
// The life of one run: it is started again and again by the real program, and each time something
// happens to it, drawn from a seed: its ranks, its mpirun or its launcher are killed, it is asked
// to stop, a second job wants its place, its newest checkpoints are damaged, it is sent back to an
// older one. When it has been left in peace at the end, its weights must have the bits of a run
// that never was disturbed. All failures are GoogleTest's.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "tests/soak/bystanders.h"
#include "tests/soak/run_files.h"
#include "tests/support/workshop.h"

namespace tessera::soak {

// A life changes between the layouts of one kind, which compute the same bits.
enum class Layouts {
  pipeline,  // one rank, or two that are the stages of a pipeline
  data       // two data-parallel ranks, with ZeRO 0 or 1
};

class Life {
 public:
  Life(uint64_t seed, Layouts layouts);
  // It stops at the first failure.
  void live(int64_t rounds);

 private:
  enum class Starter { alone, mpirun, launcher };
  enum class Moment { at_once, at_lease, at_steps, in_save };
  // The kills come first.
  enum class Ending {
    kill_rank,
    kill_mpirun,
    kill_starter,
    user1,
    term,
    term_twice,
    hangup,
    interrupt
  };
  struct Start {
    Starter starter = Starter::alone;
    int ranks = 1;
    Words words;  // behind `train recipe.yaml`
    std::string text;
  };
  class Job;

  Start draw_start();
  void damage_newest();
  void ordinary_round(bool go_back);
  void contest();
  void finish();

  Ending draw_ending(const Start& start, Moment moment);
  std::set<int> allowed_codes(const Start& start, Ending ending) const;
  bool wait_for(Job& job, Moment moment, int64_t steps);
  void end(Job& job, Ending ending);
  void look_at_disk(bool went_back);
  void expect_metrics_of(const LastJob& job);
  std::vector<int64_t> sound_steps() const;
  std::string token() const;
  void tell(const std::string& text);

  uint64_t seed_;
  Layouts layouts_;
  Random random_;
  Workshop workshop_;
  Bystanders bystanders_;
  RunFiles files_;
  int64_t round_ = 0;
  int64_t newest_ = 0;         // the step from which the next start must go on; 0: none
  std::set<int64_t> damaged_;  // steps damaged since the last start
  LastJob before_;             // the last job before this round
  std::string story_;          // what has happened in this round so far
};

}  // namespace tessera::soak
