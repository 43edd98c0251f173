// SPDX-License-Identifier: Apache-2.0
// What happens in a run, told as it happens to whoever shows or stores it: the console, the metrics
// file, TensorBoard. Observers run on rank 0 only and never change what a run does.
#pragma once

#include <string>

#include "kernels/base/warning.h"
#include "trainer/trainer.h"

namespace tessera {

struct CheckpointEvent {
  int64_t step = 0;
  std::string directory;
  int64_t bytes = 0;
  double seconds = 0;        // until durable
  double stall_seconds = 0;  // that training stood still
  std::string error;         // why it failed; empty: saved
  bool ends_run = false;     // it failed once too often, or nothing follows that could save again
};

class Observer {
 public:
  virtual ~Observer() = default;
  virtual void on_step(const StepReport&) {}
  virtual void on_eval_progress(int64_t /*step*/, double /*part*/) {}  // 0 to 1, before on_eval
  virtual void on_eval(const EvalReport&) {}
  virtual void on_checkpoint(const CheckpointEvent&) {}
  // A run that starts or continues: at `step` steps done, with a reason in words.
  virtual void on_start(int64_t /*step*/, const std::string& /*how*/) {}
  virtual void on_warning(Warning /*warning*/, const std::string& /*text*/) {}
};

}  // namespace tessera
