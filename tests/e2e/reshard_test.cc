// SPDX-License-Identifier: Apache-2.0
// `tessera checkpoint reshard`: a run goes on in another layout from files written for it.
#include "tests/support/workshop.h"

namespace tessera {
namespace {

// Run "first": two data ranks, stopped at step 6.
const Workshop& workshop() {
  static const Workshop shared;
  static const ProgramResult first = shared.train(2, "first", {"--steps", "6"});
  EXPECT_EQ(first.exit_code, 0) << first.err;
  return shared;
}

ProgramResult reshard(const std::string& output, Words more) {
  more.insert(more.begin(), {"checkpoint", "reshard", "first", "-o", output});
  return workshop().tessera(more);
}

TEST(Reshard, TheRunGoesOnInTheOtherLayoutAsIfItHadLoadedTheOldFiles) {
  const Words layout = {"parallel.tensor=2", "parallel.pipeline=2"};
  const ProgramResult made = reshard("other/checkpoints", {layout[0], layout[1]});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  EXPECT_NE(made.out.find("4 ranks = data 1 x tensor 2 x pipeline 2"), std::string::npos)
      << made.out;
  EXPECT_EQ(workshop().difference("first", "other"), "");

  ASSERT_EQ(workshop().train(4, "other", {layout[0], layout[1], "run.steps=9"}).exit_code, 0);
  ASSERT_EQ(workshop()
                .train(4, "direct", {layout[0], layout[1], "run.steps=9", "--resume", "first"})
                .exit_code,
            0);
  EXPECT_EQ(workshop().difference_of_losses("other", "direct"), "");
  EXPECT_EQ(workshop().difference("other", "direct"), "");
  EXPECT_EQ(workshop().tessera({"eval", "other"}).exit_code, 0) << "the recipe is in there";
}

// Steps of 4 sequences until token 1200, then of 8: ten of the former, so the sixth is inside.
TEST(Reshard, ARampGoesOnOnAnotherNumberOfDataRanks) {
  const Words ramp = {"batch.ramp={from: 4, increment: 4, tokens: 1200}",
                      "run.determinism=layout_free", "run.tokens=4K"};
  const auto with = [&](Words more) {
    more.insert(more.begin(), ramp.begin(), ramp.end());
    return more;
  };
  ASSERT_EQ(workshop().train(2, "ramp", with({"--steps", "6"})).exit_code, 0);
  const ProgramResult made =
      workshop().tessera({"checkpoint", "reshard", "ramp", "-o", "alone/checkpoints", "-n", "1"});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  const ProgramResult rest = workshop().train(1, "alone", with({}));
  ASSERT_EQ(rest.exit_code, 0) << rest.err;
  ASSERT_EQ(workshop().train(2, "whole", with({})).exit_code, 0);
  EXPECT_EQ(workshop().difference("alone", "whole"), "");
  const auto alone = workshop().losses("alone"), whole = workshop().losses("whole");
  ASSERT_EQ(whole.size(), 21u) << "10 x 4 and 11 x 8 sequences of 32 tokens";
  EXPECT_EQ(alone.size(), 15u);
  for (const auto& [step, loss] : alone) EXPECT_EQ(loss, whole.at(step)) << "step " << step;
}

TEST(Reshard, SpeaksJson) {
  const ProgramResult made = reshard("json", {"-n", "2", "parallel.zero=1", "--json"});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  const auto told = nlohmann::json::parse(made.out);
  EXPECT_EQ(told["directory"], "json/step-00000006");
  EXPECT_EQ(told["ranks"], 2);
  EXPECT_LT(told["largest_shard"], told["bytes"]);
}

TEST(Reshard, RefusesWhatItCannotDoAndLeavesNothing) {
  EXPECT_EQ(reshard("first/checkpoints", {}).exit_code, 2) << "the step exists there";
  EXPECT_EQ(reshard("refused", {"optimizer.lr=1"}).exit_code, 2) << "no layout";
  EXPECT_EQ(reshard("refused", {"-n", "0"}).exit_code, 2);
  EXPECT_EQ(reshard("refused", {"-n", "3"}).exit_code, 5) << "8 sequences on 3 ranks";
  EXPECT_EQ(workshop().tessera({"checkpoint", "reshard", "nowhere", "-o", "refused"}).exit_code, 4);
  EXPECT_FALSE(std::filesystem::exists(workshop() / "refused"));
}

}  // namespace
}  // namespace tessera
