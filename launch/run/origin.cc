// SPDX-License-Identifier: Apache-2.0
#include "launch/run/origin.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <utility>

#include "checkpoint/layout.h"
#include "checkpoint/load.h"
#include "checkpoint/reader.h"
#include "kernels/base/log.h"
#include "kernels/base/warning.h"
#include "launch/job/in_world.h"
#include "launch/open_checkpoint.h"
#include "parallel/section.h"
#include "trainer/group_rule.h"

namespace tessera {
namespace {

class Restoring {
 public:
  Restoring(TrainJob& job, Trainer& trainer) : job_(job), trainer_(trainer) {}

  Origin operator()() {
    if (const auto report = load_state())
      go_on_from(*report);
    else if (!job_.init_from.empty())
      begin_with_weights();
    else
      origin_.words = "fresh";
    return std::move(origin_);
  }

 private:
  // The result is empty where there is no checkpoint to go on from.
  std::optional<LoadReport> load_state() {
    State state = trainer_.state();
    std::optional<LoadReport> report;
    const LoadOptions options{.accept = [this](const CheckpointReader& from) { compare(from); }};
    in_agreement(job_.world, "resume", [&] {
      if (job_.command.resume == "auto")
        report = load_newest(job_.storage, job_.world.all(), root(), state, options);
      else if (!job_.resume_from.empty())
        report = load_checkpoint(job_.storage, job_.world.all(), job_.resume_from, state, options);
    });
    if (report) trainer_.restore(state);
    return report;
  }

  void go_on_from(const LoadReport& report) {
    const std::string step = std::to_string(report.step);
    origin_.pinned.push_back(report.step);
    // A checkpoint of another directory starts a line of its own in this one.
    std::error_code error;
    const bool own = std::filesystem::equivalent(parent_directory(report.directory), root(), error);
    origin_.base = own ? report.step : -1;
    if (job_.leads()) {
      warn_of_passed_over(report);
      if (!job_.command.init_from.empty())
        warn(Warning::init_from_unused, "--init-from " + job_.command.init_from +
                                            " is not used: the run goes on from step " + step +
                                            "; --resume none starts afresh");
      const CheckpointReader from = open(report.directory);
      origin_.run_id = from.manifest().run_id;
      warn_of_other_machine(from);
      warn_of_groups(report.directory);
    }
    origin_.words = "resume " + std::string(6 - std::min<size_t>(6, step.size()), ' ') + step +
                    "       from " + report.directory;
  }

  void begin_with_weights() {
    const std::string& from = job_.init_from;
    State weights = trainer_.weights();
    in_agreement(job_.world, "init", [&] {
      if (is_hub_model(job_.storage, from))
        HubModel::open(job_.storage, from).load(weights);
      else
        load_checkpoint(job_.storage, job_.world.all(), from, weights, {.roles = {"param"}});
    });
    trainer_.publish_weights();
    if (job_.leads()) {
      if (!is_hub_model(job_.storage, from)) {
        warn_of_groups(from);
        tell_what_weights_knew();
      }
      log::info("init     weights from " + from + ", fresh optimizer");
    }
    origin_.words = "init from " + from;
  }

  // Refuses a checkpoint of another function or of other data before anything of it is loaded.
  void compare(const CheckpointReader& from) {
    const std::vector<Changed> changes = changes_since(from.manifest(), job_.recipe, job_.made);
    refuse_other_optimizer(changes, from.directory());
    refuse_changes(changes, parse_allowed(job_.command.allow_changed), from.directory());
    const std::string since = "since step " + std::to_string(from.manifest().step);
    origin_.changed = changes.empty() ? "" : since + ": " + in_one_line(changes);
    std::string unknown = made_with(from.scalars()) ? "" : "tokenizer and data";
    if (!made_on(from.scalars()))
      unknown += (unknown.empty() ? "" : ", ") + std::string("device and instruction set");
    if (!unknown.empty())
      origin_.changed += (origin_.changed.empty() ? since + ": " : ", ") + unknown +
                         " are not known, for the checkpoint does not tell";
  }

  // Weights under a new recipe are a new run, whose length and rates are its own.
  void tell_what_weights_knew() {
    std::vector<Changed> changes =
        changes_since(open(job_.init_from).manifest(), job_.recipe, job_.made);
    std::erase_if(changes, [](const Changed& change) {
      return change.kind != Changed::Kind::model && change.kind != Changed::Kind::tokenizer;
    });
    if (!changes.empty())
      origin_.changed = "since the weights of " + job_.init_from + ": " + in_one_line(changes);
  }

  void warn_of_passed_over(const LoadReport& report) {
    for (const PassedOver& passed : report.passed_over) {
      warn(Warning::damaged_passed_over,
           passed.reason + " Resuming from " + report.directory + ".");
      if (passed.word == "damaged") origin_.damaged.push_back(passed.step);
    }
  }

  void warn_of_groups(const std::string& directory) {
    const std::string warning = group_rule_warning(job_.recipe.model, open(directory).manifest());
    if (!warning.empty()) job_.warnings.push_back(warning);
  }

  void warn_of_other_machine(const CheckpointReader& from) {
    const std::optional<MadeOn> then = made_on(from.scalars());
    if (!then) return;
    for (const std::string& warning : moved(*then, job_.machine)) job_.warnings.push_back(warning);
  }

  void warn(Warning warning, const std::string& text) {
    job_.warnings.push_back(coded(warning, text));
  }
  std::string root() const { return job_.directory.checkpoints(job_.recipe); }
  CheckpointReader open(const std::string& directory) {
    return CheckpointReader::open(job_.storage, directory);
  }

  TrainJob& job_;
  Trainer& trainer_;
  Origin origin_;
};

}  // namespace

Origin restore(TrainJob& job, Trainer& trainer) {
  const Section section(SectionKind::load);
  return Restoring(job, trainer)();
}

}  // namespace tessera
