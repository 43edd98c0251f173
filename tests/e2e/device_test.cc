// SPDX-License-Identifier: Apache-2.0
// run.device: cuda from the command line to the exit code, on machines without a GPU: with the
// stand-in of tests/support/cuda_stand_in, whose kernels have the CPU's bits and whose memory the
// host cannot touch.
#include <gmock/gmock.h>

#include "tests/support/experts_recipe.h"
#include "tests/support/workshop.h"

namespace tessera {
namespace {

using testing::HasSubstr;
using testing::Not;

const Environment kStandIn = {{"TESSERA_CUDA_PLUGIN", TESSERA_CUDA_STAND_IN}};

Environment with(const std::string& name, const std::string& value) {
  Environment environment = kStandIn;
  environment.emplace_back(name, value);
  return environment;
}

ProgramResult train(int ranks, const std::string& recipe, const std::string& run, const Words& more,
                    const Environment& environment = kStandIn) {
  return train_recipe(ranks, recipe, run, more, environment);
}

struct Case {
  const char* name;
  int ranks;
  const char* recipe;
  Words options;
};

class OnTheStandIn : public testing::TestWithParam<Case> {};

TEST_P(OnTheStandIn, TrainingHasTheCpusBits) {
  const Case& now = GetParam();
  Words more = now.options;
  more.push_back("run.steps=4");
  for (const std::string device : {"cpu", "cuda"}) {
    Words words = more;
    words.push_back("run.device=" + device);
    const ProgramResult run = train(now.ranks, now.recipe, now.name + device, words);
    ASSERT_EQ(run.exit_code, 0) << run.err;
    EXPECT_THAT(run.err, HasSubstr(device == "cpu" ? "device   cpu x86-64" : "device   cuda:0"));
  }
  const std::string cpu = now.name + std::string("cpu"), cuda = now.name + std::string("cuda");
  EXPECT_EQ(workshop().difference_of_losses(cpu, cuda), "");
  EXPECT_EQ(workshop().difference(cpu, cuda), "");
  const auto evals = workshop().metrics(cpu, "eval"), others = workshop().metrics(cuda, "eval");
  ASSERT_EQ(evals.size(), 1u);
  EXPECT_EQ(evals[0]["loss"], others[0]["loss"]);
}

INSTANTIATE_TEST_SUITE_P(
    Layouts, OnTheStandIn,
    testing::Values(
        Case{"llama", 1, "recipe.yaml", {}},
        Case{"llama_eagerly", 1, "recipe.yaml", {"run.cuda_graphs=false"}},
        Case{"llama_zero1", 2, "recipe.yaml", {"parallel.zero=1", "batch.micro=1"}},
        Case{"llama_f16", 1, "recipe.yaml", {"precision.compute=f16"}},
        Case{"llama_zero", 2, "recipe.yaml", {"parallel.zero=3", "precision.compute=bf16"}},
        Case{"llama_pipeline", 2, "recipe.yaml", {"parallel.pipeline=2"}},
        Case{"deepseek", 1, "experts.yaml", {}},
        Case{"deepseek_bf16", 1, "experts.yaml", {"precision.compute=bf16"}},
        Case{"deepseek_experts", 2, "experts.yaml", {"parallel.expert=2", "parallel.zero=1"}},
        Case{"deepseek_tensor", 2, "experts.yaml", {"parallel.tensor=2", "run.seed=5"}}),
    [](const auto& one) { return std::string(one.param.name); });

TEST(WithTheStandIn, ACheckpointGoesFromTheCpuToTheGpuAndBack) {
  ASSERT_EQ(train(1, "recipe.yaml", "straight", {"run.device=cpu"}).exit_code, 0);
  for (const auto& [steps, device] : {std::pair{"6", "cpu"}, {"12", "cuda"}, {"20", "cpu"}}) {
    const ProgramResult run =
        train(1, "recipe.yaml", "moved", {"--steps", steps, std::string("run.device=") + device});
    ASSERT_EQ(run.exit_code, 0) << run.err;
    const bool moved = std::string(steps) != "6";
    EXPECT_EQ(run.err.find("W015 saved on a ") != std::string::npos, moved) << run.err;
  }
  EXPECT_EQ(workshop().difference_of_losses("straight", "moved"), "");
  EXPECT_EQ(workshop().difference("straight", "moved"), "");
}

TEST(WithTheStandIn, TheWishForTf32ArrivesAndIsForGpus) {
  const Words wish = {"precision.compute=f32", "precision.tf32=true", "run.steps=1"};
  const auto on = [&](const std::string& device, const std::string& run, Words words) {
    words.push_back("run.device=" + device);
    return train(2, "recipe.yaml", run, words);
  };
  const ProgramResult cuda = on("cuda", "tf32", wish);
  ASSERT_EQ(cuda.exit_code, 0) << cuda.err;
  EXPECT_THAT(cuda.err, HasSubstr(", f32 products in TF32"));
  const ProgramResult plain = on("cuda", "no_tf32", {"precision.compute=f32", "run.steps=1"});
  ASSERT_EQ(plain.exit_code, 0) << plain.err;
  EXPECT_THAT(plain.err, Not(HasSubstr("TF32")));
  EXPECT_EQ(workshop().metrics("tf32", "start").at(0)["tf32"], true);
  EXPECT_EQ(workshop().metrics("no_tf32", "start").at(0)["tf32"], false);
  for (const std::string device : {"cpu", "reference"}) {
    const ProgramResult refused = on(device, "refused", wish);
    EXPECT_EQ(refused.exit_code, 2);
    EXPECT_THAT(refused.err,
                HasSubstr("precision.tf32: only the tensor cores of a GPU multiply in TF32"));
  }
  // A run that trained with it is evaluated on a CPU all the same, unless the command line insists.
  const Words eval = {"eval", "tf32", "run.device=cpu"};
  EXPECT_EQ(workshop().tessera(eval, {}).exit_code, 0);
  Words insists = eval;
  insists.push_back("precision.tf32=true");
  EXPECT_EQ(workshop().tessera(insists, {}).exit_code, 2);
  EXPECT_EQ(workshop()
                .tessera({"verify", "recipe.yaml", "precision.compute=f32", "precision.tf32=true"},
                         kStandIn)
                .exit_code,
            2);
}

TEST(WithTheStandIn, EvaluatesAndGeneratesWithTheCpusBits) {
  ASSERT_EQ(train(1, "recipe.yaml", "for_eval", {"run.device=cuda"}).exit_code, 0);
  const auto eval = [](const std::string& device, const Environment& environment) {
    return workshop().tessera({"eval", "for_eval", "--json", "run.device=" + device}, environment);
  };
  const ProgramResult cuda = eval("cuda", kStandIn);
  ASSERT_EQ(cuda.exit_code, 0) << cuda.err;
  EXPECT_EQ(cuda.out, eval("cpu", {}).out);

  // generate looks where the run was trained, and makes do with the CPU where that is gone.
  const Words generate = {"generate", "for_eval", "-p", "ka lo", "--max-tokens", "12"};
  const ProgramResult there = workshop().tessera(generate, kStandIn);
  ASSERT_EQ(there.exit_code, 0) << there.err;
  EXPECT_EQ(there.out, workshop().tessera(generate, with("TESSERA_STAND_IN_PROBLEM", "gone")).out);
}

TEST(WithTheStandIn, TrainingThatDoesNotFitIsRefusedBeforeItBegins) {
  const ProgramResult run =
      train(2, "recipe.yaml", "refused", {"run.device=cuda", "model.intermediate_size=65536"},
            with("TESSERA_STAND_IN_MEMORY", "60000000"));
  EXPECT_EQ(run.exit_code, 5) << run.err;
  EXPECT_THAT(run.err, HasSubstr("would need "));
  EXPECT_THAT(run.err, HasSubstr("(cuda:0: 57.2 MiB free here / 2 ranks): weights "));
  EXPECT_FALSE(std::filesystem::exists(workshop() / "refused"));
}

TEST(WithTheStandIn, OutOfMemorySaysWhatItIsUsedForAndExitsWith5) {
  const ProgramResult run =
      workshop().tessera({"bench", "step", "--device", "cuda", "-B", "1", "-T", "64"},
                         with("TESSERA_STAND_IN_MEMORY", "60000000"));
  EXPECT_EQ(run.exit_code, 5) << run.err;
  EXPECT_THAT(run.err, HasSubstr("cuda:0 is out of memory: "));
  EXPECT_THAT(run.err, HasSubstr("weights 0."));
  EXPECT_THAT(run.err, HasSubstr("Use parallel.recompute=full"));
}

TEST(WithTheStandIn, BenchStepTakesSeveralMicrobatches) {
  const auto json_of = [](const std::string& microbatches) {
    const ProgramResult run =
        workshop().tessera({"bench", "step", "recipe.yaml", "--device", "cuda", "-B", "1", "-T",
                            "16", "--rounds", "1", "--json", "--microbatches", microbatches},
                           kStandIn);
    EXPECT_EQ(run.exit_code, 0) << run.err;
    return nlohmann::json::parse(run.out);
  };
  const auto one = json_of("1"), three = json_of("3");
  EXPECT_FALSE(one["ms"].contains("microbatches before the last"));
  EXPECT_TRUE(three["ms"].contains("microbatches before the last"));
  EXPECT_EQ(three["microbatches"], 3);
  EXPECT_EQ(workshop().tessera({"bench", "gemm", "--microbatches", "2"}, {}).exit_code, 2);
}

TEST(WithTheStandIn, BenchTimesItsKernels) {
  for (const std::string what : {"gemm", "attention", "adamw"}) {
    const ProgramResult run = workshop().tessera(
        what == "adamw" ? Words{"bench", what, "--device", "cuda", "--rounds", "1", "--json"}
                        : Words{"bench", what, "--device", "cuda", "-B", "1", "-T", "16",
                                "--rounds", "1", "--json"},
        with("TESSERA_STAND_IN_MEMORY", "4000000000"));
    ASSERT_EQ(run.exit_code, 0) << run.err;
    const auto json = nlohmann::json::parse(run.out);
    EXPECT_THAT(json["device"].get<std::string>(), HasSubstr("cuda"));
    EXPECT_EQ(json.contains("bandwidth"), what == "adamw");
    for (const auto& one : json["cases"]) EXPECT_GT(one["median"], 0) << one["name"];
    EXPECT_FALSE(json["cases"].empty()) << what;
  }
}

TEST(Bench, ComparesWithAnEarlierRun) {
  const Words words = {"bench", "attention", "-B", "1", "-T", "16", "--rounds", "1"};
  const auto with_more = [&](const Words& more) {
    Words all = words;
    all.insert(all.end(), more.begin(), more.end());
    return workshop().tessera(all);
  };
  workshop().write("before.json", with_more({"--json"}).out);
  const ProgramResult now = with_more({"--compare", "before.json", "--json"});
  ASSERT_EQ(now.exit_code, 0) << now.err;
  for (const auto& one : nlohmann::json::parse(now.out)["cases"])
    EXPECT_DOUBLE_EQ(one["ratio"], one["median"].get<double>() / one["before"].get<double>());
  EXPECT_THAT(with_more({"--compare", "before.json"}).out, HasSubstr("ratio"));

  const ProgramResult other = with_more({"--compare", "before.json", "--dtype", "f32"});
  EXPECT_EQ(other.exit_code, 2);
  EXPECT_THAT(other.err, HasSubstr("has nothing of `tessera bench attention --dtype f32"));
  workshop().write("broken.json", "{}\n");
  const ProgramResult broken = with_more({"--compare", "broken.json"});
  EXPECT_EQ(broken.exit_code, 2);
  EXPECT_THAT(broken.err, HasSubstr("line 1 of broken.json"));
}

TEST(Bench, TimesCheckpointsAndLeavesNothing) {
  std::filesystem::create_directory(workshop() / "disk");
  Words words = {"mpirun", "--oversubscribe", "--bind-to", "none", "-n", "2", TESSERA_BINARY};
  words.insert(words.end(),
               {"bench", "io", "--dir", "disk", "--mib", "16", "--rounds", "1", "--json"});
  const ProgramResult run = run_program(words, workshop().options(), 600);
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const auto json = nlohmann::json::parse(run.out.substr(0, run.out.find('\n')));
  EXPECT_EQ(json["cases"].size(), 4U);
  for (const auto& one : json["cases"]) EXPECT_GT(one["median"], 0) << one["name"];
  EXPECT_TRUE(std::filesystem::is_empty(workshop() / "disk"));
}

TEST(Bench, RefusesWhatItCannotHonour) {
  const auto refused = [](const Words& words) {
    const ProgramResult run = workshop().tessera(words);
    EXPECT_EQ(run.exit_code, 2) << run.err;
    return run.err;
  };
  EXPECT_THAT(refused({"bench", "adamw", "--dtype", "tf32"}), HasSubstr("tf32 is how matrix"));
  EXPECT_THAT(refused({"bench", "gemm", "recipe.yaml"}), HasSubstr("a recipe is for"));
  EXPECT_THAT(refused({"bench", "gemm", "--dtype", "tf32"}), HasSubstr("tf32"));
  EXPECT_THAT(refused({"bench", "gemm", "--mib", "3"}), HasSubstr("bench io"));
  EXPECT_THAT(refused({"bench", "adamw", "-B", "2"}), HasSubstr("has sizes of its own"));
  EXPECT_THAT(refused({"bench", "io", "--device", "cuda"}), HasSubstr("no --device"));
}

TEST(WithTheStandIn, RanksThatShareAGpuAreWarnedOnce) {
  const std::string warning = "W014 2 ranks share 1 GPU";
  const Words steps = {"run.device=cuda", "run.steps=1"};
  const ProgramResult shared = train(2, "recipe.yaml", "shared", steps);
  ASSERT_EQ(shared.exit_code, 0) << shared.err;
  EXPECT_THAT(shared.err, HasSubstr(warning));
  EXPECT_EQ(shared.err.find(warning), shared.err.rfind(warning));
  EXPECT_THAT(shared.err, HasSubstr("comm host staging over shared memory"));
  const ProgramResult each =
      train(2, "recipe.yaml", "each", steps, with("TESSERA_STAND_IN_DEVICES", "2"));
  ASSERT_EQ(each.exit_code, 0) << each.err;
  EXPECT_THAT(each.err, Not(HasSubstr("W014")));
  EXPECT_THAT(each.err, HasSubstr("comm NCCL 2.28.99"));
}

TEST(WithTheStandIn, VerifyHoldsLayoutsOnBothDevicesToOneBound) {
  const Words words = {"mpirun",
                       "--oversubscribe",
                       "--bind-to",
                       "none",
                       "-n",
                       "2",
                       TESSERA_BINARY,
                       "verify",
                       "experts.yaml",
                       "--devices",
                       "cpu,cuda",
                       "--layouts",
                       "expert=2,data=2; tensor=2",
                       "--steps",
                       "2",
                       "--json"};
  const ProgramResult run = run_program(words, workshop().options(kStandIn), 600);
  ASSERT_EQ(run.exit_code, 0) << run.err << run.out;
  const auto rows = nlohmann::json::parse(run.out)["layouts"];
  ASSERT_EQ(rows.size(), 4u);
  for (size_t row = 0; row < rows.size(); row += 2) {
    EXPECT_EQ(rows[row]["layout"].get<std::string>() + " cuda", rows[row + 1]["layout"]);
    EXPECT_EQ(rows[row]["loss"], rows[row + 1]["loss"]);
    EXPECT_EQ(rows[row]["gradient_error"], rows[row + 1]["gradient_error"]);
    EXPECT_EQ(rows[row]["weights_error"], rows[row + 1]["weights_error"]);
  }
}

// --- Where there is none

const Words kOnCuda = {"run.device=cuda", "run.steps=1"};

TEST(WithoutAGpu, TheMessageSaysWhatIsMissingAndWhatToDo) {
  const ProgramResult run =
      train(1, "recipe.yaml", "no_driver", kOnCuda,
            with("TESSERA_STAND_IN_PROBLEM",
                 "the driver is missing or too old (cudaErrorInsufficientDriver). Needs NVIDIA "
                 "driver >= 580."));
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_THAT(run.err,
              HasSubstr("run.device=cuda: plugin libtessera_cuda_stand_in.so loaded (CUDA 0.0, "
                        "stand-in), but the driver is missing or too old "
                        "(cudaErrorInsufficientDriver). Needs NVIDIA driver >= 580. Use "
                        "run.device=auto to fall back to CPU. (tessera doctor --gpu)"));
}

TEST(WithoutAGpu, ThePluginItselfSaysSo) {
  const std::string plugin = TESSERA_CUDA_LIBRARY;
  if (plugin.empty()) GTEST_SKIP() << "this build has no CUDA plugin";
  if (std::filesystem::exists("/dev/nvidiactl")) GTEST_SKIP() << "this machine has a driver";
  const ProgramResult run =
      train(1, "recipe.yaml", "no_gpu", kOnCuda, {{"TESSERA_CUDA_PLUGIN", plugin}});
  EXPECT_EQ(run.exit_code, 2) << run.err;
  EXPECT_THAT(run.err, HasSubstr("run.device=cuda: plugin libtessera_cuda.so loaded (CUDA "));
  EXPECT_THAT(run.err, HasSubstr("cudaError"));
  EXPECT_THAT(run.err,
              HasSubstr("Use run.device=auto to fall back to CPU. (tessera doctor --gpu)"));
}

TEST(WithoutAGpu, AutoTrainsOnTheCpu) {
  for (const Environment& environment :
       {Environment{}, with("TESSERA_STAND_IN_PROBLEM", "it is gone."),
        Environment{{"TESSERA_CUDA_PLUGIN", "/nowhere/libtessera_cuda.so"}}}) {
    const ProgramResult run =
        train(1, "recipe.yaml", "auto", {"run.device=auto", "run.steps=1", "--resume", "none"},
              environment);
    ASSERT_EQ(run.exit_code, 0) << run.err;
    EXPECT_THAT(run.err, HasSubstr("device   cpu x86-64"));
  }
}

TEST(WithoutAGpu, ALibraryThatCannotBeOpenedIsNamedInTheLoadersWords) {
  const ProgramResult run = train(1, "recipe.yaml", "nowhere", kOnCuda,
                                  {{"TESSERA_CUDA_PLUGIN", "/nowhere/libtessera_cuda.so"}});
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_THAT(run.err, HasSubstr("plugin libtessera_cuda.so cannot be loaded "
                                 "(/nowhere/libtessera_cuda.so: cannot open shared object file"));
}

TEST(WithoutAGpu, ALibraryThatIsNoPluginIsRefused) {
  const ProgramResult run =
      train(1, "recipe.yaml", "no_plugin", kOnCuda, {{"TESSERA_CUDA_PLUGIN", "libz.so.1"}});
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_THAT(run.err, HasSubstr("libz.so.1 is no plugin of tessera"));
}

TEST(Doctor, LooksAtGpusWhenAsked) {
  const ProgramResult good = workshop().tessera({"doctor", "--gpu"}, kStandIn);
  EXPECT_EQ(good.exit_code, 0) << good.out;
  EXPECT_THAT(good.out, HasSubstr("cuda:0 stand-in, 1.0 GiB (sm_90"));
  EXPECT_THAT(good.out, HasSubstr("1.0 GiB free"));
  const ProgramResult bad =
      workshop().tessera({"doctor", "--gpu"}, with("TESSERA_STAND_IN_PROBLEM", "it is gone."));
  EXPECT_EQ(bad.exit_code, 1);
  EXPECT_THAT(bad.out, HasSubstr("but it is gone."));
  EXPECT_EQ(workshop().tessera({"doctor"}, with("TESSERA_STAND_IN_PROBLEM", "gone")).exit_code, 0);
  const ProgramResult lacks =
      workshop().tessera({"doctor", "--gpu"}, with("TESSERA_STAND_IN_LACKS", "cuDNN"));
  EXPECT_EQ(lacks.exit_code, 0) << lacks.out;
  EXPECT_THAT(lacks.out, HasSubstr("without cuDNN: something cannot be done"));
  EXPECT_THAT(lacks.out, HasSubstr("build it with cuDNN"));
}

}  // namespace
}  // namespace tessera
