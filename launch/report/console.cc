// SPDX-License-Identifier: Apache-2.0
#include "launch/report/console.h"

#include <algorithm>
#include <cstdlib>
#include <numbers>

#include <unistd.h>

#include "kernels/base/log.h"
#include "kernels/base/standard_error.h"
#include "launch/report/format.h"

namespace tessera {
namespace {

std::string left(const std::string& text, size_t width) {
  return text.size() < width ? text + std::string(width - text.size(), ' ') : text;
}
std::string right(const std::string& text, size_t width) {
  return text.size() < width ? std::string(width - text.size(), ' ') + text : text;
}
std::string percent(double part, double whole) {
  return fixed(whole > 0 ? 100 * part / whole : 0, 0) + "%";
}

}  // namespace

bool stderr_is_terminal() {
  return isatty(STDERR_FILENO) != 0;
}
bool stderr_wants_colour() {
  return stderr_is_terminal() && std::getenv("NO_COLOR") == nullptr;
}

Console::Console(const ConsoleOptions& options)
    : options_(options), start_(std::chrono::steady_clock::now()) {}

Console::~Console() {
  if (drawn_) to_standard_error("\n");
}

void Console::line(const std::string& text) {
  if (drawn_) to_standard_error("\r\033[K");
  drawn_ = false;
  log::write(log::Level::info, text);
}

void Console::redraw(const std::string& text) {
  to_standard_error("\r\033[K" + text);
  drawn_ = true;
}

std::string Console::step_line(const StepReport& report) const {
  const double rate = static_cast<double>(tokens_) / seconds_;
  const double per_step = seconds_ / static_cast<double>(steps_);
  std::string text = left("step", 5) + right(std::to_string(report.step), 6) + "/" +
                     left(std::to_string(options_.total_steps), 6) + " loss " +
                     fixed(report.loss, 3);
  if (options_.bytes_per_token > 0)
    text += "  bpb " + fixed(report.loss / std::numbers::ln2 / options_.bytes_per_token, 2);
  if (options_.ramp) text += "  batch " + std::to_string(report.sequences);
  text += "  lr " + scientific(report.learning_rate) + "  grad " + fixed(report.grad_norm, 2);
  if (!report.expert_loads.empty()) text += "  load " + fixed(report.expert_load(), 2);
  if (report.loss_scale != 1) text += "  scale " + with_prefix(report.loss_scale);
  text += "  " + with_prefix(rate) + " tok/s";
  if (options_.peak_flops > 0)
    text += "  MFU " + percent(rate * options_.flops_per_token, options_.peak_flops);
  text += "  step " + fixed(per_step, 2) + "s (data " + percent(data_seconds_, seconds_) +
          " comm " + percent(comm_seconds_, seconds_) + ")  eta " +
          as_duration(static_cast<double>(options_.total_samples - report.samples) * seconds_ /
                      static_cast<double>(sequences_));
  return text;
}

void Console::on_step(const StepReport& report) {
  seconds_ += report.seconds;
  data_seconds_ += report.data_seconds;
  comm_seconds_ += report.comm_seconds;
  tokens_ += report.target_tokens;
  total_tokens_ += report.target_tokens;
  sequences_ += report.sequences;
  ++steps_;
  if (!report.expert_loads.empty()) {
    int64_t dead = 0;
    for (const ExpertLoad& layer : report.expert_loads) dead += layer.dead;
    experts_ = "   experts: load max/mean " + fixed(report.expert_load(), 2) + ", dead " +
               std::to_string(dead);
  }
  if (!report.applied)
    on_warning(Warning::step_skipped,
               "step " + std::to_string(report.step) + " skipped: gradient not finite, first in " +
                   report.overflow + " (loss scale " + with_prefix(report.loss_scale) + ")");
  const bool due = report.step % options_.log_every == 0 || report.step == options_.total_steps;
  if (!due && !options_.terminal) return;
  const std::string text = step_line(report);
  if (due) {
    line(text);
    seconds_ = data_seconds_ = comm_seconds_ = 0;
    tokens_ = steps_ = sequences_ = 0;
  } else {
    redraw(text);
  }
}

void Console::on_eval_progress(int64_t step, double part) {
  if (options_.terminal)
    redraw(left("eval", 5) + right(std::to_string(step), 6) + "        " + percent(part, 1));
}

void Console::on_eval(const EvalReport& report) {
  if (best_.tokens == 0 || report.loss < best_.loss) best_ = report;
  std::string text = left("eval", 5) + right(std::to_string(report.step), 6) + "        loss " +
                     fixed(report.loss, 3);
  if (report.bits_per_byte > 0) {
    text += "  bpb " + fixed(report.bits_per_byte, 2);
    if (options_.xz_bits_per_byte > 0) text += " (xz " + fixed(options_.xz_bits_per_byte, 2) + ")";
  }
  text += "  ppl " + fixed(report.perplexity(), 1) + "  " +
          with_prefix(static_cast<double>(report.tokens)) + " tokens in " +
          as_duration(report.seconds) + experts_;
  line(text);
}

void Console::on_checkpoint(const CheckpointEvent& event) {
  const std::string head = left("ckpt", 5) + right(std::to_string(event.step), 6) + "        ";
  if (event.error.empty())
    line(head + "saved " + event.directory + "  " + as_bytes(static_cast<double>(event.bytes)) +
         " in " + fixed(event.seconds, 2) + "s (stalled training " + fixed(event.stall_seconds, 2) +
         "s)");
  else
    on_warning(Warning::save_failed,
               "save of step " + std::to_string(event.step) +
                   (event.ends_run ? " failed: " : " failed, training goes on: ") + event.error);
}

void Console::on_start(int64_t step, const std::string& how) {
  first_step_ = step;
  if (step > 0) line(how);
}

void Console::on_warning(Warning warning, const std::string& text) {
  if (drawn_) to_standard_error("\r\033[K");
  drawn_ = false;
  log::warn(coded(warning, text));
}

void Console::finish(const std::string& verdict, const std::string& next) {
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  std::string text = verdict;
  if (best_.tokens > 0)
    text += "  best eval " +
            (best_.bits_per_byte > 0 ? "bpb " + fixed(best_.bits_per_byte, 2)
                                     : "loss " + fixed(best_.loss, 3)) +
            " at " + std::to_string(best_.step);
  text += "  " + as_duration(seconds) + "  " + with_prefix(static_cast<double>(total_tokens_)) +
          " tokens";
  line(text + (next.empty() ? "" : "  next: " + next));
}

}  // namespace tessera
