// SPDX-License-Identifier: Apache-2.0
#include "launch/report/schedule_lines.h"

#include <array>
#include <charconv>

#include "launch/report/format.h"
#include "trainer/timeline.h"

namespace tessera {
namespace {

// "10T tokens", "2000 steps".
std::string in_words(const Length& length) {
  return length.tokens > 0 ? as_count(length.tokens) + " tokens"
                           : std::to_string(length.steps) + " steps";
}

// Three digits: "0.00022", "2.2e-05".
std::string in_words(double number) {
  constexpr int kDigits = 3;
  std::array<char, 32> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), number,
                                 std::chars_format::general, kDigits);
  return std::string(text.data(), end.ptr);
}

// A share of a length, or what two make together, in the first one's unit.
Length part(const Length& whole, double share) {
  const auto of = [&](int64_t count) {
    return static_cast<int64_t>(share * static_cast<double>(count));
  };
  return {of(whole.steps), of(whole.tokens)};
}
Length sum(const Length& a, const Length& b) {
  return {a.steps + b.steps, a.tokens + b.tokens};
}

std::string run_words(const Recipe& recipe) {
  const Timeline timeline(recipe);
  const Length run = recipe.run.length();
  const Length other = run.tokens > 0 ? Length{.steps = timeline.in_steps(run), .tokens = 0}
                                      : Length{.steps = 0, .tokens = timeline.in_tokens(run)};
  return in_words(run) + " = " + in_words(other);
}

std::string ramp_words(const Recipe& recipe) {
  const BatchRamp& ramp = recipe.batch.ramp;
  const int64_t increments = (recipe.batch.global - ramp.from) / ramp.increment;
  std::string text = std::to_string(ramp.from) + " to " + std::to_string(recipe.batch.global) +
                     " sequences a step over " + as_count(ramp.tokens) + " tokens (" +
                     std::to_string(Timeline(recipe).steps_until(ramp.tokens)) + " steps), " +
                     std::to_string(ramp.increment) + " more every " +
                     as_count(ramp.tokens / increments);
  if (!ramp.schedule.empty())
    text += "; " + ramp.schedule + " where there are too few microbatches for " +
            recipe.parallel.schedule;
  return text;
}

std::string phases_words(const Recipe& recipe) {
  std::string text;
  double lr = recipe.optimizer.lr;
  Length end;
  for (const LrPhase& phase : recipe.lr_schedule.phases) {
    lr = phase.lr.value_or(lr);
    end = sum(end, phase.length);
    const bool constant = phase.shape == LrShape::constant;
    text += (text.empty() ? "" : ", ") +
            (constant ? std::string() : name_of(phase.shape) + std::string(" to ")) + in_words(lr) +
            (constant ? " to " : " at ") + in_words(end);
  }
  return text;
}

std::string steps_words(const Recipe& recipe) {
  const LrScheduleOptions& schedule = recipe.lr_schedule;
  const Length run = recipe.run.length();
  std::string text;
  double lr = recipe.optimizer.lr;
  for (const double milestone : schedule.milestones) {
    text += in_words(lr) + " to " + in_words(part(run, milestone)) + ", ";
    lr *= schedule.milestone_factor;
  }
  return text + in_words(lr) + " to the end";
}

std::string rate_words(const Recipe& recipe) {
  const LrScheduleOptions& schedule = recipe.lr_schedule;
  const std::string peak = in_words(recipe.optimizer.lr);
  const std::string least = in_words(recipe.optimizer.lr * schedule.min_lr_ratio);
  std::string text;
  if (schedule.warmup.given()) text = "up to " + peak + " over " + in_words(schedule.warmup) + "; ";
  if (schedule.kind == LrKind::phases) return text + phases_words(recipe);
  if (schedule.kind == LrKind::multi_step) return text + steps_words(recipe);
  if (schedule.kind == LrKind::warmup_cosine)
    return text + "cosine to " + least + " at " +
           in_words(schedule.decay.given() ? schedule.decay : recipe.run.length());
  if (schedule.kind == LrKind::wsd)
    return text + peak + ", then a line to " + least + " over the last " + in_words(schedule.decay);
  return text + peak;
}

}  // namespace

std::vector<ScheduleLine> schedule_lines(const Recipe& recipe) {
  std::vector<ScheduleLine> lines = {{"run", run_words(recipe)}};
  if (recipe.batch.ramp.from > 0) lines.push_back({"ramp", ramp_words(recipe)});
  lines.push_back({"rate", rate_words(recipe)});
  const RouterOptions& router = recipe.router;
  if (router.balance == Balance::aux_free && router.bias_update.given())
    lines.push_back({"bias", "of experts moves by " + in_words(router.bias_update_speed) + " to " +
                                 in_words(router.bias_update) + ", then stays"});
  const MtpOptions& mtp = recipe.mtp;
  if (recipe.model.num_nextn_predict_layers > 0 && mtp.second_phase.given())
    lines.push_back({"mtp", "weight " + in_words(mtp.loss_weight) + " to " +
                                in_words(mtp.second_phase) + ", then " +
                                in_words(mtp.second_loss_weight)});
  return lines;
}

std::string batch_words(const Recipe& recipe, int64_t data_ranks) {
  const int64_t round = data_ranks * recipe.batch.micro, global = recipe.batch.global;
  const int64_t first = Timeline(recipe).batches().at(0);
  const auto range = [](int64_t from, int64_t to) {
    return (from < to ? std::to_string(from) + " to " : "") + std::to_string(to);
  };
  return range(first, global) + " = " + std::to_string(data_ranks) + " x " +
         std::to_string(recipe.batch.micro) + " x " + range(first / round, global / round) +
         " accumulation";
}

}  // namespace tessera
