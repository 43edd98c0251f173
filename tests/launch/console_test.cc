// SPDX-License-Identifier: Apache-2.0
#include "launch/report/console.h"

#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tessera {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// What the events put on standard error.
std::string shown(bool terminal, const std::function<void(Console&)>& events) {
  testing::internal::CaptureStderr();
  {
    Console console({.total_steps = 10, .total_samples = 20, .log_every = 5, .terminal = terminal});
    events(console);
  }
  return testing::internal::GetCapturedStderr();
}

StepReport step(int64_t number) {
  StepReport report;
  report.step = number;
  report.sequences = 2;
  report.samples = 2 * number;
  report.seconds = 1;
  return report;
}

std::string failed_save(bool ends_run) {
  CheckpointEvent event;
  event.step = 7;
  event.error = "disk full";
  event.ends_run = ends_run;
  return shown(false, [&](Console& console) { console.on_checkpoint(event); });
}

TEST(Console, InALogPrintsEveryFifthStepAndTheLast) {
  const std::string text = shown(false, [](Console& console) {
    for (int64_t number = 1; number <= 10; ++number) console.on_step(step(number));
  });
  EXPECT_THAT(text, AllOf(HasSubstr(" 5/10 "), HasSubstr(" 10/10 "), Not(HasSubstr(" 4/10 ")),
                          Not(HasSubstr("\r"))));
}

// Five steps of 2 sequences took 5 s; 10 of 20 sequences are left, in fewer steps.
TEST(Console, AlongARampTellsTheBatchAndCountsSequencesToTheEnd) {
  testing::internal::CaptureStderr();
  {
    Console console({.total_steps = 7, .total_samples = 20, .ramp = true, .log_every = 5});
    for (int64_t number = 1; number <= 5; ++number) console.on_step(step(number));
  }
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              AllOf(HasSubstr(" 5/7 "), HasSubstr("  batch 2  lr "), HasSubstr("  eta 5.0s")));
}

TEST(Console, OnATerminalRedrawsTheStepsBetween) {
  const std::string text = shown(true, [](Console& console) {
    console.on_step(step(4));
    console.on_step(step(5));
  });
  EXPECT_THAT(text, AllOf(HasSubstr("\r\033[Kstep      4/10 "), HasSubstr(" 5/10 ")));
  EXPECT_LT(text.find(" 4/10 "), text.rfind("\r\033[K")) << "wiped before the line that stays";
}

TEST(Console, OnATerminalShowsHowFarAnEvaluationIs) {
  const auto events = [](Console& console) {
    console.on_eval_progress(5, 0.25);
    console.on_eval_progress(5, 1);
    console.on_eval({.step = 5, .loss = 2, .tokens = 9});
  };
  const std::string text = shown(true, events);
  EXPECT_THAT(text, AllOf(HasSubstr("\r\033[Keval      5        25%"), HasSubstr("100%")));
  EXPECT_LT(text.find("100%"), text.rfind("\r\033[K"));
  EXPECT_GT(text.find("loss 2.000"), text.rfind("\r\033[K"));
  EXPECT_THAT(shown(false, events), AllOf(HasSubstr("loss 2.000"), Not(HasSubstr("%"))));
}

TEST(Console, OnlyAFailedSaveThatTrainingSurvivesSaysSo) {
  EXPECT_THAT(failed_save(false), HasSubstr("step 7 failed, training goes on: disk full"));
  EXPECT_THAT(failed_save(true),
              AllOf(HasSubstr("W030 save of step 7 failed: disk full"), Not(HasSubstr("goes on"))));
}

}  // namespace
}  // namespace tessera
