// SPDX-License-Identifier: Apache-2.0
// run.device: cuda from the command line to the exit code on a real GPU: what device_test shows of
// the stand-in bit by bit holds here within bounds, and equal runs give equal bits. The plugin is
// $TESSERA_TEST_CUDA_PLUGIN, or that of this build; every test is skipped with the plugin's words
// where it has no GPU. With the stand-in (e2e/gpu_test_through_stand_in) the way there is tested.
#include <algorithm>

#include <gmock/gmock.h>

#include "kernels/cuda_plugin.h"
#include "kernels/transfer.h"
#include "tests/support/experts_recipe.h"
#include "tests/support/trace_lanes.h"
#include "tests/support/workshop.h"

namespace tessera {
namespace {

using testing::HasSubstr;

constexpr Device kGpu{Device::Kind::cuda};

// Before anybody asks for the plugin, which is opened once; child processes inherit it.
const std::string kPlugin = [] {
  const char* chosen = std::getenv("TESSERA_TEST_CUDA_PLUGIN");
  const std::string plugin = chosen != nullptr ? chosen : TESSERA_CUDA_LIBRARY;
  if (!plugin.empty()) setenv("TESSERA_CUDA_PLUGIN", plugin.c_str(), 1);
  return plugin;
}();

class OnAGpu : public testing::Test {
 protected:
  void SetUp() override {
    if (!cuda_plugin().problem.empty()) GTEST_SKIP() << cuda_plugin().problem;
  }

  // Two runs of equal bits, close to the CPU's.
  static void trains_like_the_cpu(const std::string& name, int ranks, const std::string& recipe,
                                  Words options, double bound) {
    options.push_back("run.steps=6");
    for (const std::string run : {"cpu", "cuda", "again"}) {
      Words words = options;
      words.push_back(run == "cpu" ? "run.device=cpu" : "run.device=cuda");
      const ProgramResult result = train_recipe(ranks, recipe, name + run, words);
      ASSERT_EQ(result.exit_code, 0) << result.err;
      EXPECT_THAT(result.err, HasSubstr(run == "cpu" ? "device   cpu" : "device   cuda:0"));
    }
    EXPECT_EQ(workshop().difference_of_losses(name + "cuda", name + "again"), "");
    EXPECT_EQ(workshop().difference(name + "cuda", name + "again"), "");
    const auto cpu = workshop().losses(name + "cpu"), cuda = workshop().losses(name + "cuda");
    ASSERT_EQ(cpu.size(), 6u);
    ASSERT_EQ(cuda.size(), cpu.size());
    for (const auto& [step, loss] : cpu)
      EXPECT_NEAR(cuda.at(step), loss, bound * loss) << "step " << step;
  }

  // Four microbatches a step, of which three are launched as graphs; documents, each type.
  static void expect_graphs_change_no_bit(const std::string& recipe, const std::string& compute) {
    const std::string name = recipe + "_" + compute + "_graphs_";
    for (const std::string graphs : {"true", "false"}) {
      const ProgramResult run =
          train_recipe(1, recipe, name + graphs,
                       {"run.device=cuda", "run.steps=6", "run.cuda_graphs=" + graphs,
                        "precision.compute=" + compute, "data.attend_across_documents=false",
                        "precision.loss_scaling.growth_interval=2"});
      ASSERT_EQ(run.exit_code, 0) << run.err;
    }
    const std::string with = name + "true", without = name + "false";
    EXPECT_EQ(workshop().losses(with).size(), 6u);
    EXPECT_EQ(workshop().difference_of_losses(with, without), "");
    EXPECT_EQ(workshop().difference(with, without), "");
  }
};

TEST_F(OnAGpu, TrainsLlamaInF32) {
  trains_like_the_cpu("f32", 1, "recipe.yaml", {}, 1e-4);
}
TEST_F(OnAGpu, TrainsLlamaInBf16) {
  trains_like_the_cpu("bf16", 1, "recipe.yaml", {"precision.compute=bf16"}, 1e-2);
}
TEST_F(OnAGpu, TrainsLlamaInF16) {
  trains_like_the_cpu("f16", 1, "recipe.yaml", {"precision.compute=f16"}, 1e-2);
}
TEST_F(OnAGpu, TrainsDeepSeekInF32) {
  trains_like_the_cpu("experts", 1, "experts.yaml", {}, 1e-3);
}
TEST_F(OnAGpu, TrainsDeepSeekInBf16) {
  trains_like_the_cpu("experts_bf16", 1, "experts.yaml", {"precision.compute=bf16"}, 2e-2);
}
TEST_F(OnAGpu, GraphsChangeNoBit) {
  for (const char* compute : {"f32", "bf16", "f16"})
    expect_graphs_change_no_bit("recipe.yaml", compute);
}
TEST_F(OnAGpu, GraphsOfExpertsChangeNoBit) {
  for (const char* compute : {"bf16", "f16"}) expect_graphs_change_no_bit("experts.yaml", compute);
}

TEST_F(OnAGpu, TwoRanksShareIt) {
  trains_like_the_cpu("two", 2, "experts.yaml", {"parallel.expert=2", "parallel.zero=1"}, 1e-3);
}
TEST_F(OnAGpu, FourRanksShareIt) {
  trains_like_the_cpu("four", 4, "recipe.yaml", {"parallel.tensor=2", "parallel.zero=3"}, 1e-4);
}

TEST_F(OnAGpu, ARunGoesFromTheCpuToTheGpuAndBack) {
  ASSERT_EQ(train_recipe(1, "recipe.yaml", "straight", {"run.device=cpu"}).exit_code, 0);
  for (const auto& [steps, device] : {std::pair{"6", "cpu"}, {"12", "cuda"}, {"20", "cpu"}}) {
    const ProgramResult run = train_recipe(1, "recipe.yaml", "moved",
                                           {"--steps", steps, std::string("run.device=") + device});
    ASSERT_EQ(run.exit_code, 0) << run.err;
  }
  const auto straight = workshop().losses("straight"), moved = workshop().losses("moved");
  ASSERT_EQ(straight.size(), 20u);
  ASSERT_EQ(moved.size(), 20u);
  for (const auto& [step, loss] : straight) EXPECT_NEAR(moved.at(step), loss, 1e-3 * loss) << step;
}

TEST_F(OnAGpu, F16RecoversFromAScaleThatIsTooHigh) {
  const ProgramResult run =
      train_recipe(1, "recipe.yaml", "scaled",
                   {"run.device=cuda", "run.steps=30", "precision.compute=f16",
                    "precision.loss_scaling.initial=16777216"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.err, HasSubstr("W020 step 1 skipped: gradient not finite, first in "));
  const auto lines = workshop().metrics("scaled", "train");
  ASSERT_EQ(lines.size(), 30u);
  EXPECT_EQ(lines.front()["applied"], false) << "no step overflowed: the test shows nothing";
  for (size_t i = 15; i < lines.size(); ++i) EXPECT_EQ(lines[i]["applied"], true) << lines[i];
}

// This process takes the GPU's memory, all but what a second one needs to start; the stand-in's
// memory is each process's own, and the environment makes it small.
TEST_F(OnAGpu, OutOfMemorySaysWhatItIsUsedForAndExitsWith5) {
  constexpr int64_t kLeft = int64_t{2} << 30;
  const int64_t bytes = cuda_accelerator().memory(0).free - kLeft;
  const Tensor taken = bytes > 0 ? Tensor(kGpu, DType::f32, {bytes / 4}) : Tensor{};
  const Environment small = {{"TESSERA_STAND_IN_MEMORY", "60000000"}};
  const ProgramResult refused = train_recipe(
      1, "recipe.yaml", "full",
      {"run.device=cuda", "run.steps=1", "model.hidden_size=256", "model.intermediate_size=8192",
       "data.sequence_length=512", "batch.global=64", "batch.micro=64", "run.eval_batches=0"},
      small);
  EXPECT_EQ(refused.exit_code, 5) << refused.err;
  EXPECT_THAT(refused.err, HasSubstr("would need "));
  // What does not ask first finds out.
  const ProgramResult run =
      workshop().tessera({"bench", "step", "--device", "cuda", "-B", "64", "-T", "1024"}, small);
  EXPECT_EQ(run.exit_code, 5) << run.err;
  EXPECT_THAT(run.err, HasSubstr("cuda:0 is out of memory: "));
  EXPECT_THAT(run.err, HasSubstr("weights "));
}

// Step 3 is saved within the trace.
TEST_F(OnAGpu, ATraceShowsWhatItDidBesideTheHost) {
  constexpr double kClocks = 1000;  // microseconds: how far the two may be apart
  const ProgramResult run =
      train_recipe(1, "recipe.yaml", "traced",
                   {"run.device=cuda", "run.steps=5", "profile.steps=2-4", "checkpoint.every=3"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  auto lanes = read_trace(workshop() / "traced/trace/trace.json")[0];
  const Lane compute = lanes["GPU compute"], host = lanes["host thread 0"];
  expect_nested(compute);
  const Lane steps = named(compute, "step "), of_host = named(host, "step ");
  ASSERT_EQ(steps.size(), 3u);
  ASSERT_EQ(of_host.size(), 3u);
  for (size_t i = 0; i < steps.size(); ++i) {
    const Span& step = steps[i];
    EXPECT_EQ(step.name, "step " + std::to_string(2 + i));
    EXPECT_EQ(step.name, of_host[i].name);
    EXPECT_GE(step.begin, of_host[i].begin - kClocks) << "before it was asked to";
    EXPECT_GE(step.end, of_host[i].end - kClocks) << "before all of it was asked for";
    EXPECT_TRUE(i == 0 || steps[i - 1].end <= step.begin);
    std::vector<std::string> inside;
    for (const Span& span : compute)
      if (span.begin >= step.begin && span.end <= step.end) inside.push_back(span.name);
    for (const char* name : {"copy to the device", "F0.0", "attention", "B0.3 W"})
      EXPECT_THAT(inside, testing::Contains(name)) << step.name;
    EXPECT_EQ(inside.back(), "optimizer and weights");
  }
  expect_nested(lanes["GPU copies"]);
  EXPECT_FALSE(named(lanes["GPU copies"], "copy to the host").empty()) << "of the checkpoint";
}

class VerifiesOnAGpu : public OnAGpu, public testing::WithParamInterface<std::pair<int, Words>> {};

TEST_P(VerifiesOnAGpu, BothDevicesWithinTheBound) {
  const auto& [ranks, more] = GetParam();
  Words words = {"mpirun", "--oversubscribe",     "--bind-to",    "none",
                 "-n",     std::to_string(ranks), TESSERA_BINARY, "verify"};
  words.insert(words.end(), more.begin(), more.end());
  words.insert(words.end(), {"--devices", "cpu,cuda", "--steps", "2", "--json"});
  const ProgramResult run = run_program(words, workshop().options(), 600);
  ASSERT_EQ(run.exit_code, 0) << run.err << run.out;
  // Libraries below MPI may have said something about the machine first.
  const size_t begin = std::min(run.out.find("{\n"), run.out.size());
  const auto rows = nlohmann::json::parse(run.out.substr(begin))["layouts"];
  ASSERT_GE(rows.size(), 2u);
  EXPECT_THAT(rows[1]["layout"].get<std::string>(), HasSubstr("cuda"));
}

INSTANTIATE_TEST_SUITE_P(
    Layouts, VerifiesOnAGpu,
    testing::Values(std::pair{1, Words{"recipe.yaml", "--layouts", "data=1; recompute=full"}},
                    std::pair{1, Words{"experts.yaml", "--layouts", "data=1; recompute=full"}},
                    std::pair{2, Words{"recipe.yaml", "--layouts",
                                       "data=2,zero=3; tensor=2; pipeline=2"}},
                    std::pair{2, Words{"experts.yaml", "--layouts", "expert=2,data=2; tensor=2"}},
                    std::pair{4, Words{"recipe.yaml", "--layouts", "data=2,tensor=2"}},
                    std::pair{4, Words{"experts.yaml", "--layouts", "expert=2,data=2,tensor=2"}}),
    [](const auto& one) {
      const std::string recipe = one.param.second.front();
      return recipe.substr(0, recipe.find('.')) + "On" + std::to_string(one.param.first);
    });

}  // namespace
}  // namespace tessera
