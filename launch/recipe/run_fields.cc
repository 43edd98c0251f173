// SPDX-License-Identifier: Apache-2.0
// Keys of the sections run, checkpoint, on_failure, metrics and profile.
#include "launch/recipe/rows.h"
#include "launch/recipe/scalar.h"
#include "launch/recipe/sections.h"

namespace tessera {
namespace {

RecipeField checkpoint_every() {
  return {"checkpoint.every",
          "string",
          {},
          "how often to save: a number of steps, or a duration like 30min; 0: at the end only",
          [](Recipe& r, const RecipeNode& n) {
            const std::string& value = unquoted_scalar_of(n, "a number of steps or a duration");
            const bool timed = looks_like_duration(value);
            r.checkpoint.every_seconds = timed ? parse_duration(value) : 0;
            r.checkpoint.every_steps = timed ? 0 : parse_integer(value);
          },
          [](const Recipe& r) {
            return r.checkpoint.every_seconds > 0 ? format_number(r.checkpoint.every_seconds) + "s"
                                                  : std::to_string(r.checkpoint.every_steps);
          }};
}

// "10-12", "10" or null.
RecipeField profile_steps() {
  return {"profile.steps",
          "string",
          {},
          "steps to trace, e.g. 10-12, into trace/trace.json (Perfetto)",
          [](Recipe& r, const RecipeNode& n) {
            const std::string& text = scalar_of(n, "steps like 10-12");
            r.profile = {};
            if (!n.quoted && text == "null") return;
            const size_t dash = text.find('-');
            r.profile.first_step = parse_integer(text.substr(0, dash));
            r.profile.last_step = dash == std::string::npos ? r.profile.first_step
                                                            : parse_integer(text.substr(dash + 1));
          },
          [](const Recipe& r) {
            if (r.profile.first_step == 0) return std::string("null");
            return yaml_text(std::to_string(r.profile.first_step) + "-" +
                             std::to_string(r.profile.last_step));
          }};
}

}  // namespace

std::vector<RecipeField> run_fields() {
  using R = Recipe;
  std::vector<RecipeField> rows;
  const auto add = [&](RecipeField row) { rows.push_back(std::move(row)); };
  add(length_row(
      "run.steps", "run.tokens", "null", [](R & r) -> auto& { return r.run.steps; },
      "batches to consume; or run.tokens"));
  add(length_row(
      "run.tokens", "run.steps", "null", [](R & r) -> auto& { return r.run.tokens; },
      "tokens to consume: the run ends with the step that reaches them"));
  add(text_row("run.device", [](R & r) -> auto& { return r.run.device; },
               "auto: cuda if there is one, else cpu; reference: double precision, slow",
               {"auto", "cpu", "reference", "cuda"}));
  add(boolean_row(
      "run.cuda_graphs", [](R & r) -> auto& { return r.run.cuda_graphs; },
      "on a GPU, queue a microbatch's passes by one call where shapes allow "
      "(docs/cuda_kernels.md)"));
  add(integer_row(
      "run.seed", [](R & r) -> auto& { return r.run.seed; }, "of the initial weights"));
  add(word_row<Determinism>(
      "run.determinism", [](R & r) -> auto& { return r.run.determinism; },
      "what is bit-equal (docs/numerics.md)"));
  add(integer_row(
      "run.log_every", [](R & r) -> auto& { return r.run.log_every; },
      "steps between lines on the console"));
  add(integer_row(
      "run.eval_every", [](R & r) -> auto& { return r.run.eval_every; },
      "steps between evaluations; 0: at the end only"));
  add(integer_or_row(
      "run.eval_batches", "all", [](R & r) -> auto& { return r.run.eval_batches; },
      "global batches of the validation split; all: the whole split"));

  add(text_row(
      "checkpoint.directory", [](R & r) -> auto& { return r.checkpoint.directory; },
      "{run} is the run directory, {name} the recipe's name"));
  add(checkpoint_every());
  add(integer_row(
      "checkpoint.keep.last", [](R & r) -> auto& { return r.checkpoint.keep.last; },
      "newest checkpoints to keep"));
  add(integer_row(
      "checkpoint.keep.every", [](R & r) -> auto& { return r.checkpoint.keep.every; },
      "and those of steps divisible by this; 0: none"));
  add(integer_row(
      "checkpoint.max_failures", [](R & r) -> auto& { return r.checkpoint.max_failures; },
      "failed saves in a row before the run ends with exit code 8"));
  add(word_row<OnPreempt>(
      "checkpoint.on_preempt", [](R & r) -> auto& { return r.checkpoint.on_preempt; },
      "at SIGINT, SIGTERM, SIGHUP or SIGUSR1: save and exit 75, or stop and exit 75"));

  add(word_row<OnNonFinite>(
      "on_failure.non_finite", [](R & r) -> auto& { return r.on_failure.non_finite; },
      "a gradient that is not finite (without loss scaling)"));
  add(integer_row(
      "on_failure.max_skips", [](R & r) -> auto& { return r.on_failure.max_skips; },
      "skipped steps in a row before the run ends with exit code 6"));
  add(duration_row(
      "on_failure.hang_timeout", [](R & r) -> auto& { return r.on_failure.hang_timeout_seconds; },
      "a collective, a microbatch or an evaluation's part that takes longer ends the job with exit "
      "code 7; 0s: never"));
  add(duration_row(
      "on_failure.start_timeout", [](R & r) -> auto& { return r.on_failure.start_timeout_seconds; },
      "a start (reading data, xz, the first weights) that takes a rank longer ends the job with "
      "exit code 7; 0s: never"));
  add(duration_row(
      "on_failure.save_timeout", [](R & r) -> auto& { return r.on_failure.save_timeout_seconds; },
      "a checkpoint that takes a rank longer to save or load ends the job with exit code 7; 0s: "
      "never"));

  add(boolean_row(
      "metrics.jsonl", [](R & r) -> auto& { return r.metrics.jsonl; }, "write metrics.jsonl"));
  add(boolean_row(
      "metrics.tensorboard", [](R & r) -> auto& { return r.metrics.tensorboard; },
      "write events.out.tfevents.*"));

  add(profile_steps());
  return rows;
}

}  // namespace tessera
