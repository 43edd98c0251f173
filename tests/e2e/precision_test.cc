// SPDX-License-Identifier: Apache-2.0
// Half-precision types learn as much as f32, and f16 finds its loss scale by itself.
#include "tests/support/workshop.h"

namespace tessera {
namespace {

const Workshop& workshop() {
  static const Workshop shared;
  return shared;
}

double mean_of_last(const std::string& run, int count) {
  const auto losses = workshop().losses(run);
  double sum = 0;
  auto at = losses.rbegin();
  for (int i = 0; i < count; ++i, ++at) sum += at->second;
  return sum / count;
}

TEST(Precision, AllTypesEndWithinTwoPercentOfEachOther) {
  for (const std::string type : {"f32", "bf16", "f16"}) {
    const ProgramResult run =
        workshop().train(2, type, {"run.steps=80", "precision.compute=" + type});
    ASSERT_EQ(run.exit_code, 0) << run.err;
    EXPECT_NE(run.err.find(type + " compute"), std::string::npos) << run.err;
    // f16 starts with a scale that gradients may outgrow; the others have none.
    EXPECT_GE(workshop().metrics(type, "train").back()["updates"], type == "f16" ? 78 : 80) << type;
  }
  const double truth = mean_of_last("f32", 5);
  EXPECT_LT(truth, 0.6 * workshop().losses("f32").at(1)) << "it must have learned something";
  for (const std::string type : {"bf16", "f16"}) {
    EXPECT_NEAR(mean_of_last(type, 5), truth, 0.02 * truth) << type;
    EXPECT_NE(workshop().difference_of_losses("f32", type), "") << type << " was not used";
  }
}

TEST(Precision, F16RecoversFromAScaleThatIsTooHigh) {
  const ProgramResult run = workshop().train(
      2, "scaled",
      {"run.steps=30", "precision.compute=f16", "precision.loss_scaling.initial=16777216"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const auto lines = workshop().metrics("scaled", "train");
  ASSERT_EQ(lines.size(), 30u);
  double scale = 16777216;
  int64_t updates = 0;
  for (const auto& line : lines) {
    EXPECT_EQ(line["loss_scale"], scale) << line.dump();
    if (line["applied"] == true) {
      ++updates;
    } else {
      EXPECT_NE(line["overflow"].get<std::string>().find(" grad on rank "), std::string::npos)
          << line.dump();
      scale /= 2;
    }
    EXPECT_EQ(line["updates"], updates);
  }
  EXPECT_LE(updates, 27) << "hardly a step overflowed: the test shows nothing";
  for (size_t i = 15; i < lines.size(); ++i)
    EXPECT_EQ(lines[i]["applied"], true) << lines[i].dump();
  EXPECT_NE(run.err.find("W020 step 1 skipped: gradient not finite, first in "), std::string::npos)
      << run.err;
  EXPECT_NE(run.err.find(" grad on rank "), std::string::npos) << run.err;
}

TEST(Precision, F16SkipsNoStepWhenItsScaleIsLow) {
  const ProgramResult run = workshop().train(
      2, "low", {"run.steps=30", "precision.compute=f16", "precision.loss_scaling.initial=1024"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(workshop().metrics("low", "train").back()["updates"], 30);
  EXPECT_EQ(run.err.find("W020"), std::string::npos) << run.err;
}

TEST(Precision, ALossScaleIsCarriedOverAResume) {
  const Words options = {"precision.compute=f16", "precision.loss_scaling.initial=16777216"};
  Words half = options;
  half.insert(half.end(), {"--steps", "10"});
  ASSERT_EQ(workshop().train(2, "halves", half).exit_code, 0);
  ASSERT_EQ(workshop().train(2, "halves", options).exit_code, 0);
  ASSERT_EQ(workshop().train(2, "whole", options).exit_code, 0);
  EXPECT_EQ(workshop().difference("halves", "whole"), "");
  EXPECT_EQ(workshop().difference_of_losses("halves", "whole"), "");
  EXPECT_LT(workshop().metrics("halves", "train").back()["loss_scale"], 16777216);
}

TEST(Precision, ARunThatOnlyOverflowsEndsWith6) {
  const ProgramResult run = workshop().train(
      2, "diverged",
      {"run.steps=30", "precision.compute=f16", "precision.loss_scaling.initial=1e30"});
  EXPECT_EQ(run.exit_code, 6) << run.err;
  EXPECT_NE(run.err.find("diverged: step 21 is the 21. in a row"), std::string::npos) << run.err;
  EXPECT_NE(run.err.find("try precision.compute=bf16"), std::string::npos) << run.err;
}

}  // namespace
}  // namespace tessera
