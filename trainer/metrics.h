// SPDX-License-Identifier: Apache-2.0
// metrics.jsonl: one JSON object a line, appended as things happen; the source of truth for every
// plot. Lines and keys are a contract (docs/recipes.md, "Files of a run"). A run that goes on from
// a checkpoint first cuts the file back to that step, so that no step stands in it twice. A line
// that cannot be written is left out, and the file goes on with whole lines when it can (W062).
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "trainer/observer.h"
#include "trainer/run_file.h"

namespace tessera {

// What the lines tell of the run as a whole.
struct RunFacts {
  double flops_per_token = 0;
  double peak_flops = 0;  // of all ranks together, for "mfu"; 0: not measured, the key is left out
  DType compute = DType::f32;
  bool tf32 = false;  // f32 products are rounded to TF32
};

class MetricsFile : public Observer {
 public:
  // Throws Error{storage} when the file cannot be written.
  MetricsFile(const std::string& path, const RunFacts& facts);
  void on_step(const StepReport& report) override;
  void on_eval(const EvalReport& report) override;
  void on_checkpoint(const CheckpointEvent& event) override;
  void on_start(int64_t step, const std::string& how) override;
  void on_warning(Warning warning, const std::string& text) override;

 private:
  void cut_back(int64_t step);
  void write_line(const nlohmann::ordered_json& line);

  RunFile file_;
  RunFacts facts_;
};

}  // namespace tessera
