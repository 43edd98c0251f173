// SPDX-License-Identifier: Apache-2.0
#include "trainer/metrics.h"

#include <fstream>
#include <limits>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/captured_error.h"
#include "tests/support/errors.h"
#include "tests/support/full_disk.h"
#include "tests/support/temporary.h"

namespace tessera::test {
namespace {

using Json = nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

const RunFacts kFacts = {.flops_per_token = 100};

struct Metrics : testing::Test {
  TemporaryDirectory directory;
  const std::string path = directory / "metrics.jsonl";

  std::string text() const {
    std::ostringstream all;
    all << std::ifstream(path).rdbuf();
    return all.str();
  }
  std::vector<Json> lines() const {
    std::istringstream in(text());
    std::vector<Json> all;
    for (std::string line; std::getline(in, line);) all.push_back(Json::parse(line));
    return all;
  }
  // What happened, in short: s0 is a start at step 0, t7 step 7, e and c likewise.
  std::vector<std::string> story() const {
    std::vector<std::string> all;
    for (const Json& line : lines())
      all.push_back(line["kind"].get<std::string>().substr(0, 1) +
                    (line.contains("step") ? line["step"].dump() : ""));
    return all;
  }
  void append(const std::string& bytes) const { std::ofstream(path, std::ios::app) << bytes; }
};

void train(MetricsFile& file, int64_t first, int64_t last) {
  for (int64_t step = first; step <= last; ++step) {
    StepReport report;
    report.step = step;
    report.seconds = 1;
    file.on_step(report);
  }
}

CheckpointEvent save_of(int64_t step, const std::string& error = "") {
  CheckpointEvent event;
  event.step = step;
  event.error = error;
  return event;
}

TEST_F(Metrics, OfAStepHaveTheKeysOfTheContract) {
  MetricsFile file(path, {.flops_per_token = 100, .peak_flops = 1000});
  StepReport report;
  report.step = 3;
  report.loss = 0.1;
  report.target_tokens = 10;
  report.seconds = 2;
  file.on_step(report);
  const Json line = lines().at(0);
  for (const char* key :
       {"step", "loss", "grad_norm", "lr", "loss_scale", "applied", "updates", "tokens",
        "sequences", "tokens_per_second", "step_seconds", "data_seconds", "comm_seconds", "mfu"})
    EXPECT_TRUE(line.contains(key)) << key;
  EXPECT_EQ(line["kind"], "train");
  EXPECT_EQ(line["loss"], 0.1) << "to the last bit";
  EXPECT_EQ(line["tokens_per_second"], 5);
  EXPECT_EQ(line["mfu"], 0.5);
  EXPECT_FALSE(line.contains("overflow"));
}

TEST_F(Metrics, WithoutAMeasuredPeakHaveNoMfu) {
  MetricsFile file(path, kFacts);
  train(file, 1, 1);
  EXPECT_FALSE(lines().at(0).contains("mfu"));
}

TEST_F(Metrics, OfASkippedStepNameTheTensorAndStayJson) {
  MetricsFile file(path, kFacts);
  StepReport report;
  report.applied = false;
  report.overflow = "a grad";
  report.grad_norm = std::numeric_limits<double>::infinity();
  file.on_step(report);
  const Json line = lines().at(0);
  EXPECT_EQ(line["overflow"], "a grad");
  EXPECT_TRUE(line["grad_norm"].is_null());
}

TEST_F(Metrics, OfAStartTellWhatIsComputedIn) {
  MetricsFile(path, {.compute = DType::bf16}).on_start(0, "fresh");
  MetricsFile(path, {.compute = DType::f32, .tf32 = true}).on_start(0, "resume");
  const auto all = lines();
  EXPECT_EQ(all[0]["compute"], "bf16");
  EXPECT_EQ(all[0]["tf32"], false);
  EXPECT_EQ(all[1]["compute"], "f32");
  EXPECT_EQ(all[1]["tf32"], true);
}

TEST_F(Metrics, OfEventsBetweenStepsAreLinesOfTheirOwn) {
  MetricsFile file(path, kFacts);
  file.on_start(0, "fresh");
  file.on_eval({.step = 2, .loss = 1, .tokens = 5, .bits_per_byte = 0.5});
  file.on_eval({.step = 3, .loss = 1});
  file.on_checkpoint(save_of(4));
  file.on_checkpoint(save_of(5, "disk full"));
  file.on_warning(Warning::retention_failed, "words");
  EXPECT_THAT(story(), ElementsAre("s0", "e2", "e3", "c4", "c5", "w"));
  const auto all = lines();
  EXPECT_EQ(all[0]["how"], "fresh");
  EXPECT_EQ(all[1]["bits_per_byte"], 0.5);
  EXPECT_FALSE(all[2].contains("bits_per_byte")) << "no tokenizer: bytes are not known";
  EXPECT_FALSE(all[3].contains("error"));
  EXPECT_EQ(all[4]["error"], "disk full");
  EXPECT_EQ(all[5]["code"], "W010");
}

TEST_F(Metrics, AreCutBackToTheStepThatARunGoesOnFrom) {
  {
    MetricsFile killed(path, kFacts);
    killed.on_start(0, "fresh");
    train(killed, 1, 4);
    killed.on_eval({.step = 4});
    killed.on_checkpoint(save_of(4));
    train(killed, 5, 6);
    killed.on_warning(Warning::save_failed, "of step 6");
  }
  MetricsFile resumed(path, kFacts);
  resumed.on_start(4, "resume");
  train(resumed, 5, 5);
  EXPECT_THAT(story(), ElementsAre("s0", "t1", "t2", "t3", "t4", "e4", "c4", "s4", "t5"));
}

TEST_F(Metrics, OfARunThatEndedWellAreOnlyAddedTo) {
  {
    MetricsFile first(path, kFacts);
    first.on_start(0, "fresh");
    train(first, 1, 2);
    first.on_warning(Warning::retention_failed, "words");
  }
  const std::string before = text();
  MetricsFile second(path, kFacts);
  second.on_start(2, "resume");
  EXPECT_EQ(text().substr(0, before.size()), before);
  EXPECT_THAT(story(), ElementsAre("s0", "t1", "t2", "w", "s2"));
}

TEST_F(Metrics, LoseALineThatWasBeingWrittenWhenTheRunDied) {
  for (const std::string torn : {R"({"kind":"train","step":2,"lo)", R"({"kind":"train","step":2})",
                                 "{\"kind\":\"tr\n", "7\n"}) {
    std::ofstream(path, std::ios::trunc).close();
    {
      MetricsFile killed(path, kFacts);
      train(killed, 1, 1);
    }
    append(torn);
    MetricsFile resumed(path, kFacts);
    resumed.on_start(2, "resume");
    EXPECT_THAT(story(), ElementsAre("t1", "s2")) << torn;
  }
}

// The line that did not fit leaves no rest, and the next whole one follows when there is room.
TEST_F(Metrics, GoOnAfterTheDiskWasFull) {
  const CapturedError error;
  MetricsFile file(path, kFacts);
  train(file, 1, 1);
  {
    const FullDisk full(text().size() + 20);
    train(file, 2, 4);
  }
  train(file, 5, 6);
  const std::string console = error.read();
  EXPECT_THAT(story(), ElementsAre("t1", "t5", "w", "t6"));
  EXPECT_EQ(lines().at(2)["code"], "W062");
  EXPECT_EQ(lines().at(2)["text"],
            "3 lines are missing before the one above: they could not be written");
  EXPECT_THAT(console, testing::ContainsRegex("W062 .*metrics.jsonl cannot be written"));
  EXPECT_THAT(console, HasSubstr("3 records are missing"));
  size_t warnings = 0;
  for (size_t at = 0; (at = console.find("cannot be written", at)) != std::string::npos; ++at)
    ++warnings;
  EXPECT_EQ(warnings, 1u);
}

TEST_F(Metrics, ThatCannotBeWrittenAreAnErrorThatNamesTheFile) {
  const std::string nowhere = directory / "none/metrics.jsonl";
  EXPECT_THAT(error_of([&] { MetricsFile(nowhere, kFacts); }), HasSubstr(nowhere));
}

}  // namespace
}  // namespace tessera::test
