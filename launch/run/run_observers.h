// SPDX-License-Identifier: Apache-2.0
// All that rank 0 tells of a run while it goes on: the console, metrics.jsonl, TensorBoard's files.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "launch/report/console.h"
#include "launch/run/train_job.h"
#include "trainer/trainer.h"
#include "trainer/training_loop.h"

namespace tessera {

class RunObservers {
 public:
  // Collective. how: the words of Origin, for the line "start".
  RunObservers(const TrainJob& job, const Trainer& trainer, const std::string& how);

  std::vector<Observer*> all() const;  // empty but on rank 0
  // The last lines of the run.
  void finish(const Trainer& trainer, Outcome outcome);

 private:
  const TrainJob& job_;
  std::unique_ptr<Console> console_;
  std::vector<std::unique_ptr<Observer>> files_;
};

}  // namespace tessera
