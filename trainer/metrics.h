// SPDX-License-Identifier: Apache-2.0
// metrics.jsonl: one JSON object a line, appended as things happen; the source of truth for every
// plot. Lines and keys are a contract (docs/recipes.md, "Files of a run"). A run that goes on from
// a checkpoint first cuts the file back to that step, so that no step stands in it twice.
#pragma once

#include <fstream>

#include "trainer/observer.h"

namespace tessera {

class MetricsFile : public Observer {
 public:
  // peak_flops: of all ranks together, for "mfu"; 0: not measured, the key is left out. Throws
  // Error{storage} when the file cannot be written.
  MetricsFile(const std::string& path, double flops_per_token, double peak_flops);
  void on_step(const StepReport& report) override;
  void on_eval(const EvalReport& report) override;
  void on_checkpoint(const CheckpointEvent& event) override;
  void on_start(int64_t step, const std::string& how) override;
  void on_warning(const std::string& code, const std::string& text) override;

 private:
  void cut_back(int64_t step);

  std::string path_;
  std::ofstream out_;
  double flops_per_token_;
  double peak_flops_;
};

}  // namespace tessera
