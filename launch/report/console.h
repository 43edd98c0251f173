// SPDX-License-Identifier: Apache-2.0
// A run on the console: one line a step interval in a log, one line redrawn in place on a terminal.
// Writes to standard error; standard output belongs to results.
#pragma once

#include <chrono>

#include "trainer/observer.h"

namespace tessera {

struct ConsoleOptions {
  int64_t total_steps = 0;
  int64_t total_samples = 0;  // sequences of all steps: what the time to the end is told by
  bool ramp = false;          // steps differ in size: each line tells
  int64_t log_every = 10;
  double bytes_per_token = 0;  // 0: bits per byte are not shown
  double flops_per_token = 0;
  double peak_flops = 0;        // of all ranks; 0: MFU is not shown
  double xz_bits_per_byte = 0;  // of the validation text; 0: not known
  bool terminal = false;
};

class Console : public Observer {
 public:
  explicit Console(const ConsoleOptions& options);
  ~Console() override;
  void on_step(const StepReport& report) override;
  void on_eval_progress(int64_t step, double part) override;
  void on_eval(const EvalReport& report) override;
  void on_checkpoint(const CheckpointEvent& event) override;
  void on_start(int64_t step, const std::string& how) override;
  void on_warning(Warning warning, const std::string& text) override;
  // The last line: best evaluation, time, tokens.
  void finish(const std::string& verdict, const std::string& next);

 private:
  std::string step_line(const StepReport& report) const;
  void line(const std::string& text);    // a line that stays
  void redraw(const std::string& text);  // terminal only: the current line

  ConsoleOptions options_;
  std::chrono::steady_clock::time_point start_;
  int64_t first_step_ = 0;
  // Since the last printed step line.
  double seconds_ = 0, data_seconds_ = 0, comm_seconds_ = 0;
  int64_t tokens_ = 0, steps_ = 0, sequences_ = 0;
  int64_t total_tokens_ = 0;
  std::string experts_;  // the loads of the last step, for the eval line; empty: no experts
  EvalReport best_;
  bool drawn_ = false;
};

// Colour and redrawing: only on a terminal, and not when NO_COLOR is set.
bool stderr_is_terminal();
bool stderr_wants_colour();

}  // namespace tessera
