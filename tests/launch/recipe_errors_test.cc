// SPDX-License-Identifier: Apache-2.0
// What a wrong recipe is told, word for word: place, source line, caret, advice, exit code.
#include <gtest/gtest.h>

#include "launch/recipe/reader.h"

namespace tessera {
namespace {

struct Refusal {
  std::string text = "accepted";
  int exit_code = 0;
};

Refusal refusal(const std::string& recipe, const std::vector<std::string>& overrides = {},
                int num_ranks = 0) {
  try {
    parse_recipe(recipe, "a.yaml", overrides, num_ranks);
  } catch (const RecipeFailure& failure) {
    return {failure.what(), failure.exit_code};
  }
  return {};
}

void expect_refused(const std::string& recipe, const std::string& text, int exit_code = 2) {
  const Refusal actual = refusal(recipe);
  EXPECT_EQ(actual.text, text);
  EXPECT_EQ(actual.exit_code, exit_code);
}

const std::string kSound =
    "recipe: 1\nname: small\n"
    "model: {vocab_size: 64, hidden_size: 16, intermediate_size: 32, num_hidden_layers: 1,"
    " num_attention_heads: 2}\n"
    "data: {train: corpus/train}\n"
    "run: {steps: 3}\n";

TEST(RecipeErrors, TheSoundRecipeThatTheOthersSpoilIsAccepted) {
  EXPECT_EQ(refusal(kSound).text, "accepted");
}

TEST(RecipeErrors, AnUnknownKeyIsUnderlinedAndTheNearestNamed) {
  expect_refused("lr_schedule: {kind: warmup_cosine, warmup_step: 20}\n",
                 "a.yaml:1:36: unknown key `warmup_step` in `lr_schedule`\n"
                 "    1 | lr_schedule: {kind: warmup_cosine, warmup_step: 20}\n"
                 "      |                                    ^^^^^^^^^^^ did you mean "
                 "`warmup_steps`?     keys here: kind, warmup_steps, warmup_tokens, decay_steps, "
                 "decay_tokens, min_lr_ratio, milestones, milestone_factor, phases");
}

TEST(RecipeErrors, AWordThatIsNoneOfAClosedSetIsToldTheOthers) {
  const auto told = [](const std::string& change, const std::string& text) {
    const Refusal actual = refusal(kSound, {change});
    EXPECT_EQ(actual.exit_code, 2) << change;
    EXPECT_NE(actual.text.find(text), std::string::npos) << actual.text;
  };
  told("model.architecture=gpt", "must be llama | deepseek | deepseek_v2 | deepseek_v3, got `gpt`");
  told("model.scoring_func=tanh", "must be softmax | sigmoid, got 'tanh'");
  told("model.topk_method=best", "must be greedy | group_limited_greedy | noaux_tc, got 'best'");
  told("model.rope_scaling.type=linear", "must be yarn, got 'linear'");
  told("router.balance=often", "must be none | aux_free, got `often`");
}

TEST(RecipeErrors, AKeyOfAnotherSectionIsSentThere) {
  expect_refused("learning_rate: 0.1\n",
                 "a.yaml:1:1: `learning_rate` is not a top-level key; it belongs to "
                 "`optimizer.lr`\n"
                 "    1 | learning_rate: 0.1\n"
                 "      | ^^^^^^^^^^^^^");
  expect_refused("run:\n  grad_clip: 1\n",
                 "a.yaml:2:3: unknown key `grad_clip` in `run`\n"
                 "    2 |   grad_clip: 1\n"
                 "      |   ^^^^^^^^^ it belongs to `optimizer.grad_clip`     keys here: steps, "
                 "tokens, device, cuda_graphs, seed, determinism, log_every, eval_every, "
                 "eval_batches");
}

TEST(RecipeErrors, AKeyOfALaterVersionSaysSo) {
  expect_refused("metrics: {prometheus: 9100}\n",
                 "a.yaml:1:11: `metrics.prometheus`: this version writes metrics.jsonl and "
                 "TensorBoard events\n"
                 "    1 | metrics: {prometheus: 9100}\n"
                 "      |           ^^^^^^^^^^");
}

TEST(RecipeErrors, ADuplicateKeyNamesTheFirstLine) {
  expect_refused("run:\n  steps: 3\n  seed: 1\n  steps: 4\n",
                 "a.yaml:4:3: key `steps` is given twice; first on line 2\n"
                 "    4 |   steps: 4\n"
                 "      |   ^^^^^");
}

TEST(RecipeErrors, ALetterInANumberIsPointedAt) {
  expect_refused("run:\n  steps: 3oo\n",
                 "a.yaml:2:10: run.steps wants a whole number, got \"3oo\" (letter o?)\n"
                 "    2 |   steps: 3oo\n"
                 "      |          ^^^");
}

TEST(RecipeErrors, AQuotedNumberIsText) {
  expect_refused("run: {steps: \"3\"}\n",
                 "a.yaml:1:14: run.steps wants a whole number, got the text \"3\"\n"
                 "    1 | run: {steps: \"3\"}\n"
                 "      |              ^^^");
}

TEST(RecipeErrors, MinutesAreNotWrittenM) {
  expect_refused("checkpoint: {every: 30m}\n",
                 "a.yaml:1:21: checkpoint.every `30m`: use 30min (m is ambiguous)\n"
                 "    1 | checkpoint: {every: 30m}\n"
                 "      |                     ^^^");
}

TEST(RecipeErrors, AnUnknownWordOfAChoiceListsTheChoices) {
  expect_refused("precision: {compute: fp16}\n",
                 "a.yaml:1:22: precision.compute must be f32 | bf16 | f16, got `fp16`\n"
                 "    1 | precision: {compute: fp16}\n"
                 "      |                      ^^^^ did you mean `f16`?");
}

TEST(RecipeErrors, AListOrAMapIsNoScalar) {
  expect_refused("run: {steps: [3]}\n",
                 "a.yaml:1:14: run.steps wants a whole number, got a list\n"
                 "    1 | run: {steps: [3]}\n"
                 "      |              ^");
  expect_refused("name: {a: b}\n",
                 "a.yaml:1:7: name wants text, got a map\n"
                 "    1 | name: {a: b}\n"
                 "      |       ^");
  expect_refused("optimizer: {betas: 0.9}\n",
                 "a.yaml:1:20: optimizer.betas wants a list of numbers\n"
                 "    1 | optimizer: {betas: 0.9}\n"
                 "      |                    ^^^");
}

TEST(RecipeErrors, AScalarWhereASectionIsWantedListsItsKeys) {
  expect_refused("batch: 16\n",
                 "a.yaml:1:1: `batch` is a section\n"
                 "    1 | batch: 16\n"
                 "      | ^^^^^ keys here: global, micro, ramp");
}

TEST(RecipeErrors, AQuoteMustBeClosedOnItsLine) {
  expect_refused("name: \"abc\nrun: {steps: 3}\n#\"\n",
                 "a.yaml:1:7: this quote is not closed on its line\n"
                 "    1 | name: \"abc\n"
                 "      |       ^");
  const Refusal open = refusal("name: \"abc\n");
  EXPECT_EQ(open.exit_code, 2);
  EXPECT_EQ(open.text.substr(0, 7), "a.yaml:") << open.text;
}

TEST(RecipeErrors, AFileHoldsOneDocument) {
  EXPECT_EQ(refusal(kSound + "---\nname: other\n").text.substr(0, 57),
            "a.yaml:1:1: a recipe is one YAML document, found 2\n    1 ");
  EXPECT_EQ(refusal("- a\n- b\n").text.substr(0, 40), "a.yaml:1:1: a recipe is a map of section");
  // yaml-cpp alone would find documents here without end.
  EXPECT_EQ(refusal(",\x01\x11!").exit_code, 2);
  EXPECT_EQ(refusal("").exit_code, 2);
}

TEST(RecipeErrors, TagsAnchorsAliasesAndMergeKeysAreRefused) {
  EXPECT_EQ(refusal("name: !!binary abc\n").text.substr(0, 41),
            "a.yaml:1:7: tags are not used here: tag:y");
  expect_refused("run: &a {steps: 3}\n",
                 "a.yaml:1:6: anchors and aliases are not used: recipes are complete\n"
                 "    1 | run: &a {steps: 3}\n"
                 "      |      ^");
  expect_refused("run: *a\n",
                 "a.yaml:1:6: anchors and aliases are not used: recipes are complete\n"
                 "    1 | run: *a\n"
                 "      |      ^");
  EXPECT_EQ(refusal("run: {<<: {steps: 3}}\n").text.substr(0, 60),
            "a.yaml:1:7: merge keys are not used: recipes are complete\n  ");
}

TEST(RecipeErrors, AnAmpersandInsideQuotesIsText) {
  EXPECT_EQ(refusal(kSound, {"name=\"a \\\" &b\""}).text, "accepted");
  EXPECT_EQ(refusal("name: \"a \\\" &b\"\n" + kSound.substr(kSound.find("model"))).text,
            "accepted");
}

TEST(RecipeErrors, DeepNestingAndABombEndQuickly) {
  EXPECT_EQ(refusal("run: " + std::string(60, '[') + std::string(60, ']') + "\n").exit_code, 2);
  EXPECT_EQ(refusal("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n").exit_code, 2);
}

TEST(RecipeErrors, AllErrorsAreReportedAtOnce) {
  expect_refused("nmae: a\nrun: {steps: x}\n",
                 "a.yaml:1:1: unknown key `nmae` at the top level\n"
                 "    1 | nmae: a\n"
                 "      | ^^^^ did you mean `name`?     keys here: recipe, name, model, data, "
                 "batch, parallel, precision, optimizer, lr_schedule, router, mtp, "
                 "run, checkpoint, on_failure, "
                 "metrics, profile\n"
                 "a.yaml:2:14: run.steps wants a whole number, got \"x\"\n"
                 "    2 | run: {steps: x}\n"
                 "      |              ^");
}

TEST(RecipeErrors, OverridesAreCheckedLikeTheFile) {
  EXPECT_EQ(refusal(kSound, {"optimizer.lrr=1"}).text,
            "command line: unknown key `lrr` in `optimizer`; did you mean `lr`?     keys here: "
            "name, lr, betas, eps, weight_decay, decay_embeddings, grad_clip");
  EXPECT_EQ(refusal(kSound, {"run.steps=3oo"}).text,
            "command line: run.steps wants a whole number, got \"3oo\" (letter o?)");
  EXPECT_EQ(refusal(kSound, {"steps"}).text,
            "command line: `steps` is not key=value; e.g. optimizer.lr=1e-3");
}

TEST(RecipeErrors, ALengthHasOneUnit) {
  expect_refused(kSound.substr(0, kSound.find("run:")) + "run: {steps: 3, tokens: 14.8T}\n",
                 "a.yaml:5:17: run.tokens: is the same length as run.steps: give one of them\n"
                 "    5 | run: {steps: 3, tokens: 14.8T}\n"
                 "      |                 ^^^^^^");
  EXPECT_EQ(refusal(kSound, {"run.steps=null"}).text,
            "command line: run.steps: must be at least 1, got 0; or give run.tokens");
  EXPECT_EQ(refusal(kSound, {"run.tokens=2B"}).text, "accepted") << "in the place of run.steps";
  EXPECT_EQ(refusal(kSound, {"run.tokens=2B", "run.steps=9"}).text, "accepted");
  EXPECT_EQ(refusal(kSound, {"run.tokens=null"}).text, "accepted");
}

TEST(RecipeErrors, ARampNamesWhatIsWrongAndTheNearestLegal) {
  const auto with = [](const std::string& ramp) {
    return kSound + "batch: {global: 16, micro: 2, ramp: " + ramp + "}\n";
  };
  expect_refused(
      with("{from: 4, increment: 5, tokens: 1K}"),
      "a.yaml:6:47: batch.ramp.increment: 5 does not divide the way from "
      "batch.ramp.from to batch.global, 12 sequences; nearest legal: 4 or 6\n"
      "    6 | batch: {global: 16, micro: 2, ramp: {from: 4, increment: 5, tokens: 1K}}\n"
      "      |                                               ^^^^^^^^^");
  EXPECT_EQ(refusal(with("{increment: 4}")).exit_code, 2);
  EXPECT_EQ(refusal(with("{from: 16, increment: 4, tokens: 1K}")).exit_code, 2);
  const Refusal ranks = refusal(with("{from: 6, increment: 2, tokens: 1K}"), {}, 2);
  EXPECT_EQ(ranks.exit_code, 5);
  EXPECT_EQ(ranks.text.substr(0, ranks.text.find('\n')),
            "a.yaml:6:38: batch.ramp.from: 6 sequences cannot be cut into microbatches of 2 on 2 "
            "data rank(s); nearest legal: 4 or 8");
}

TEST(RecipeErrors, APhaseOfTheLearningRateIsReadStrictly) {
  const auto with = [](const std::string& phases) {
    return kSound + "lr_schedule: {kind: phases, phases: " + phases + "}\n";
  };
  EXPECT_EQ(refusal(with("[{steps: 2}, {shape: cosine, lr: 1e-4, steps: 1}]")).text, "accepted");
  const auto first_line = [&](const std::string& phases) {
    const std::string text = refusal(with(phases)).text;
    return text.substr(0, text.find('\n'));
  };
  EXPECT_EQ(first_line("[{steps: 2, rate: 1}]"),
            "a.yaml:6:37: lr_schedule.phases has the unknown key `rate`; keys: shape, lr, steps, "
            "tokens");
  EXPECT_EQ(first_line("[{steps: 2}, {tokens: 2}]"),
            "a.yaml:6:29: lr_schedule.phases: phase 2 has another unit than the first: all in "
            "steps or all in tokens");
  EXPECT_EQ(first_line("[{steps: 2}, {shape: cosine, steps: 2}]"),
            "a.yaml:6:29: lr_schedule.phases: phase 2: a cosine wants the lr that it ends with");
  EXPECT_EQ(first_line("[{steps: 2}, {shape: square, lr: 1e-4, steps: 2}]"),
            "a.yaml:6:29: lr_schedule.phases: phase 2: shape must be constant | linear | cosine, "
            "got 'square'");
  EXPECT_EQ(first_line("[{lr: 1}]"),
            "a.yaml:6:29: lr_schedule.phases: phase 1 wants steps or tokens, at least 1");
}

TEST(RecipeErrors, ALayoutThatDoesNotMultiplyOutExitsWith5) {
  const Refusal ranks = refusal(kSound, {}, 3);
  EXPECT_EQ(ranks.exit_code, 5);
  EXPECT_EQ(ranks.text,
            "a.yaml: batch.global: 16 sequences cannot be cut into microbatches of 4 on 3 data "
            "rank(s); nearest legal: 12 or 24");
  EXPECT_EQ(refusal(kSound, {"parallel.tensor=3"}).exit_code, 5);
}

TEST(RecipeErrors, ValuesThatMakeNoSenseNameTheirKey) {
  EXPECT_EQ(refusal(kSound, {"model.num_attention_heads=7"}).text,
            "a.yaml:3:25: model.hidden_size: 16 is not a multiple of num_attention_heads 7; set "
            "model.head_dim\n"
            "    3 | model: {vocab_size: 64, hidden_size: 16, intermediate_size: 32, "
            "num_hidden_layers: 1, num_attention_heads: 2}\n"
            "      |                         ^^^^^^^^^^^");
  for (const char* change : {"run.steps=0", "checkpoint.keep.last=0", "optimizer.lr=-1",
                             "optimizer.betas=[0.9]", "batch.micro=0", "recipe=2"})
    EXPECT_EQ(refusal(kSound, {change}).exit_code, 2) << change;
}

}  // namespace
}  // namespace tessera
