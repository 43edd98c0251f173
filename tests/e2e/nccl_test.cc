// SPDX-License-Identifier: Apache-2.0
// Training over NCCL from the command line to the exit code, on machines without GPUs: the real
// parallel/transport/nccl_communicator.cc on the stand-ins of CUDA and NCCL. The stand-in of NCCL
// adds in the order of Tessera's tree, so results must have the CPU's bits; on GPUs they are within
// the bound.
#include <algorithm>
#include <map>

#include <gmock/gmock.h>

#include "tests/support/experts_recipe.h"
#include "tests/support/trace_lanes.h"
#include "tests/support/workshop.h"

namespace tessera {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr int kPeerFailed = 7;  // docs/exit_codes.md

// As many devices as ranks, and what is more.
Environment devices(int ranks, const Environment& more = {}) {
  Environment environment = {{"TESSERA_CUDA_PLUGIN", TESSERA_CUDA_STAND_IN},
                             {"TESSERA_STAND_IN_DEVICES", std::to_string(ranks)}};
  environment.insert(environment.end(), more.begin(), more.end());
  return environment;
}

struct Case {
  const char* name;
  int ranks;
  const char* recipe;
  Words options;
};

class OverNccl : public testing::TestWithParam<Case> {};

TEST_P(OverNccl, TrainingHasTheCpusBits) {
  const Case& now = GetParam();
  const std::string cpu = now.name + std::string("_cpu"), cuda = now.name + std::string("_cuda");
  Words options = now.options;
  options.insert(options.end(), {"run.steps=4", "run.device=cpu"});
  const ProgramResult there = train_recipe(now.ranks, now.recipe, cpu, options, {});
  ASSERT_EQ(there.exit_code, 0) << there.err;
  options.back() = "run.device=cuda";
  const ProgramResult here = train_recipe(now.ranks, now.recipe, cuda, options, devices(now.ranks));
  ASSERT_EQ(here.exit_code, 0) << here.err;
  EXPECT_THAT(here.err, HasSubstr("comm NCCL 2.28.99 (Open MPI"));
  EXPECT_THAT(here.err, Not(HasSubstr("W014")));
  EXPECT_EQ(workshop().difference_of_losses(cpu, cuda), "");
  EXPECT_EQ(workshop().difference(cpu, cuda), "");
}

TEST(NcclBench, TimesSumsOverBothTransports) {
  Words words = {"mpirun", "--oversubscribe", "--bind-to", "none", "-n", "2", TESSERA_BINARY};
  words.insert(words.end(),
               {"bench", "allreduce", "--device", "cuda", "--dtype", "f32", "--rounds", "1"});
  const ProgramResult run = run_program(words, workshop().options(devices(2)), 600);
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("64 MiB, 2 ranks, NCCL"));
  EXPECT_THAT(run.out, HasSubstr("64 MiB, 2 ranks, host staging over mpi"));
}

INSTANTIATE_TEST_SUITE_P(
    Layouts, OverNccl,
    testing::Values(
        Case{"llama", 2, "recipe.yaml", {"parallel.zero=1"}},
        Case{"llama_zero3", 4, "recipe.yaml", {"parallel.zero=3", "precision.compute=bf16"}},
        Case{"llama_pipeline",
             4,
             "recipe.yaml",
             {"parallel.pipeline=2", "parallel.tensor=2", "parallel.zero=0"}},
        Case{"deepseek", 2, "experts.yaml", {"parallel.expert=2", "parallel.zero=1"}},
        Case{"deepseek_skips",
             2,
             "experts.yaml",
             {"parallel.expert=2", "precision.compute=f16", "precision.loss_scaling.initial=1e12"}},
        Case{"deepseek_pipeline",
             4,
             "experts.yaml",
             {"parallel.pipeline=2", "parallel.expert=2", "parallel.zero=1",
              "precision.compute=bf16"}},
        Case{"deepseek_tensor", 4, "experts.yaml", {"parallel.tensor=2", "parallel.zero=2"}}),
    [](const auto& one) { return std::string(one.param.name); });

TEST(OverNccl, VerifyGivesEachLayoutAClassOfItsOwn) {
  const Words words = {"mpirun",
                       "--oversubscribe",
                       "--bind-to",
                       "none",
                       "-n",
                       "2",
                       TESSERA_BINARY,
                       "verify",
                       "recipe.yaml",
                       "--devices",
                       "cpu,cuda",
                       "--layouts",
                       "data=2,zero=0; data=2,zero=1; data=2,zero=1,transport=mpi",
                       "--steps",
                       "2",
                       "--json"};
  const ProgramResult run = run_program(words, workshop().options(devices(2)), 600);
  ASSERT_EQ(run.exit_code, 0) << run.err << run.out;
  std::map<std::string, std::string> verdicts;
  const auto rows = nlohmann::json::parse(run.out)["layouts"];
  for (const auto& row : rows) verdicts[row["layout"]] = row["verdict"];
  ASSERT_EQ(verdicts.size(), 6u);
  for (const auto& [layout, verdict] : verdicts) {
    const bool nccl =
        layout.find("cuda") != std::string::npos && layout.find("mpi") == std::string::npos;
    EXPECT_TRUE(!nccl || verdict == "within bound") << layout << ": " << verdict;
  }
}

TEST(OverNccl, ATraceShowsItsCallsInALaneOfTheirOwn) {
  const ProgramResult run = train_recipe(
      2, "recipe.yaml", "traced",
      {"run.device=cuda", "run.steps=3", "profile.steps=2-3", "parallel.zero=2"}, devices(2));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  auto ranks = read_trace(workshop() / "traced/trace/trace.json");
  for (const int rank : {0, 1}) {
    const Lane calls = ranks[rank]["GPU communication"], compute = ranks[rank]["GPU compute"];
    expect_nested(calls);
    expect_nested(compute);
    for (const char* call : {"all-reduce (group ", "reduce-scatter (group ", "all-gather (group "})
      EXPECT_GE(named(calls, call).size(), 2u) << call << "rank " << rank;
    const Lane steps = named(compute, "step "), waits = named(compute, "wait for NCCL");
    ASSERT_EQ(steps.size(), 2u);
    ASSERT_FALSE(waits.empty());
    EXPECT_GE(waits.front().begin, steps.front().begin);
    EXPECT_LE(waits.back().end, steps.back().end);
  }
}

// --- What cannot be had

TEST(Transport, NcclIsInsistedOnOrDeclined) {
  const Words steps = {"run.device=cuda", "run.steps=1"};
  const ProgramResult shared =
      train_recipe(2, "recipe.yaml", "insists", steps, devices(1, {{"TESSERA_TRANSPORT", "nccl"}}));
  EXPECT_EQ(shared.exit_code, 2) << shared.err;
  EXPECT_THAT(shared.err, HasSubstr("TESSERA_TRANSPORT=nccl: 2 ranks share 1 GPU"));
  const ProgramResult declined =
      train_recipe(2, "recipe.yaml", "declines", steps, devices(2, {{"TESSERA_TRANSPORT", "mpi"}}));
  EXPECT_EQ(declined.exit_code, 0) << declined.err;
  EXPECT_THAT(declined.err, HasSubstr("comm host staging over mpi"));
  const ProgramResult cpu = train_recipe(2, "recipe.yaml", "cpu", {"run.device=cpu", "run.steps=1"},
                                         devices(2, {{"TESSERA_TRANSPORT", "nccl"}}));
  EXPECT_EQ(cpu.exit_code, 2) << cpu.err;
  EXPECT_THAT(cpu.err, HasSubstr("TESSERA_TRANSPORT=nccl needs run.device=cuda"));
}

TEST(Transport, RanksWithAGpuEachAreRefusedByAPluginWithoutNccl) {
  const Words steps = {"run.device=cuda", "run.steps=1"};
  const ProgramResult refused = train_recipe(2, "recipe.yaml", "without", steps,
                                             devices(2, {{"TESSERA_STAND_IN_LACKS", "NCCL"}}));
  EXPECT_EQ(refused.exit_code, 2) << refused.err;
  EXPECT_THAT(refused.err, HasSubstr("2 ranks with a GPU each would talk over NCCL, but"));
  EXPECT_THAT(refused.err, HasSubstr("was built without NCCL: build it with NCCL"));
  EXPECT_THAT(refused.err, HasSubstr("or set TESSERA_TRANSPORT=mpi"));
  const ProgramResult told =
      train_recipe(2, "recipe.yaml", "told", steps,
                   devices(2, {{"TESSERA_STAND_IN_LACKS", "NCCL"}, {"TESSERA_TRANSPORT", "mpi"}}));
  EXPECT_EQ(told.exit_code, 0) << told.err;
  EXPECT_THAT(told.err, HasSubstr("W016 the CUDA plugin was built without NCCL"));
  // Ranks that share a GPU would not talk over it anyway.
  const ProgramResult shared = train_recipe(2, "recipe.yaml", "shared", steps,
                                            devices(1, {{"TESSERA_STAND_IN_LACKS", "NCCL"}}));
  EXPECT_EQ(shared.exit_code, 0) << shared.err;
}

// --- Ranks that fail: the job ends with the exit code that a supervisor retries, in time

ProgramResult with_fault(const std::string& run, const std::string& fault,
                         const std::string& timeout) {
  return train_recipe(
      2, "recipe.yaml", run,
      {"run.device=cuda", "run.steps=200", "on_failure.hang_timeout=" + timeout + "s"},
      devices(2, {{"TESSERA_NCCL_STAND_IN_FAULT", fault}}));
}

TEST(Fault, ARankThatNeverComesIsWaitedForOnlySoLong) {
  const ProgramResult run = with_fault("absent", "absent@1", "3");
  EXPECT_EQ(run.exit_code, kPeerFailed) << run.err;
  EXPECT_THAT(run.err, HasSubstr("NCCL: making NCCL's group of all 2 ranks: not all of its ranks "
                                 "came within 3 s"));
  EXPECT_LT(run.seconds, 30);
}

TEST(Fault, ARankThatStopsInACallIsNamedByTheWatchdogOfTheOthers) {
  const ProgramResult run = with_fault("silent", "silent@1:30", "3");
  EXPECT_EQ(run.exit_code, kPeerFailed) << run.err;
  EXPECT_THAT(run.err, HasSubstr(" s for the other ranks (on_failure.hang_timeout)"));
  EXPECT_THAT(run.err, HasSubstr("stopping with exit code 7"));
  EXPECT_LT(run.seconds, 30);
}

TEST(Fault, WhatNcclFindsOutMeanwhileEndsTheJob) {
  const ProgramResult run = with_fault("remote", "remote@1:30", "60");
  EXPECT_EQ(run.exit_code, kPeerFailed) << run.err;
  EXPECT_THAT(run.err, HasSubstr("NCCL: remote process exited or there was a network error"));
  EXPECT_LT(run.seconds, 30);
}

TEST(Fault, ACallThatFailsAbortsAndSaysWhichItWas) {
  const ProgramResult run = with_fault("error", "error@1:30", "60");
  EXPECT_EQ(run.exit_code, kPeerFailed) << run.err;
  EXPECT_THAT(run.err, HasSubstr("unhandled system error: an error on purpose"));
  EXPECT_THAT(run.err, HasSubstr("(group "));
  EXPECT_LT(run.seconds, 30);
}

TEST(Fault, RanksThatCallDifferentThingsAreTold) {
  const ProgramResult run = with_fault("smaller", "smaller@1:30", "60");
  EXPECT_EQ(run.exit_code, kPeerFailed) << run.err;
  EXPECT_THAT(run.err, HasSubstr("calls differ: mine is `"));
  EXPECT_LT(run.seconds, 30);
}

}  // namespace
}  // namespace tessera
