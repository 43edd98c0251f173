// SPDX-License-Identifier: Apache-2.0
// Training with recorded microbatches, against the stand-in: reports and weights are those of the
// CPU to the last bit, and what is recorded is launched.
#include <bit>
#include <map>
#include <set>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/base/trace.h"
#include "kernels/cpu_path.h"
#include "kernels/transfer.h"
#include "tests/support/stand_in.h"
#include "tests/support/temporary.h"
#include "tests/support/tiny_model.h"

namespace tessera::test {
namespace {

// Of the stand-in, after stand_in.h has set less and before it is opened.
const bool kHasRoom = setenv("TESSERA_STAND_IN_MEMORY", "268435456", 1) == 0;

std::string bits_of_state(Trainer& trainer) {
  std::string bits;
  for (const StateEntry& entry : trainer.state().entries) {
    const Tensor host = on_host(trainer.stream(), entry.tensor.flat());
    bits.append(static_cast<const char*>(host.data()), static_cast<size_t>(host.bytes()));
  }
  return bits;
}

void expect_same_loads(const std::vector<ExpertLoad>& a, const std::vector<ExpertLoad>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].p50, b[i].p50);
    EXPECT_EQ(a[i].p95, b[i].p95);
    EXPECT_EQ(a[i].max, b[i].max);
    EXPECT_EQ(a[i].dead, b[i].dead);
  }
}

struct MicroGraphsOf : testing::Test {
  TemporaryDirectory directory;
  Communicators alone;
  StandInCounts before;
  const int threads = cpu_threads();

  // Kernels this small are quicker on one thread.
  MicroGraphsOf() {
    set_cpu_threads(1);
    write_tiny_tokens(directory / "tokens");
  }
  ~MicroGraphsOf() override { set_cpu_threads(threads); }

  Recipe recipe(int64_t num_micro, const std::string& compute = "f32") const {
    Recipe made = tiny_recipe(directory / "tokens", compute);
    made.data.validation = made.data.train;
    made.batch = {.global = num_micro * 2, .micro = 2};
    made.run.eval_batches = 2;
    return made;
  }
  Recipe experts(int64_t num_micro, const std::string& compute) const {
    Recipe made = recipe(num_micro, compute);
    made.model = tiny_deepseek();
    made.router.sequence_aux_loss = 0.01;
    return made;
  }
  int64_t launched() const { return stand_in_counts().graphs_launched - before.graphs_launched; }
  int64_t recorded() const { return stand_in_counts().graphs_recorded - before.graphs_recorded; }
  void count() { before = stand_in_counts(); }

  // Both, with an evaluation between steps; returns how many steps were skipped.
  int expect_the_cpus_bits(const Recipe& recipe, int steps) const {
    Trainer gpu(recipe, kStandIn, alone), cpu(recipe, Device{}, alone);
    int skipped = 0;
    for (int step = 1; step <= steps; ++step) {
      const StepReport on_gpu = gpu.step({}), on_cpu = cpu.step({});
      EXPECT_EQ(std::bit_cast<uint64_t>(on_gpu.loss), std::bit_cast<uint64_t>(on_cpu.loss))
          << "step " << step;
      EXPECT_EQ(std::bit_cast<uint64_t>(on_gpu.grad_norm),
                std::bit_cast<uint64_t>(on_cpu.grad_norm));
      EXPECT_EQ(std::bit_cast<uint64_t>(on_gpu.mtp_loss), std::bit_cast<uint64_t>(on_cpu.mtp_loss));
      EXPECT_EQ(std::bit_cast<uint64_t>(on_gpu.aux_loss), std::bit_cast<uint64_t>(on_cpu.aux_loss));
      expect_same_loads(on_gpu.expert_loads, on_cpu.expert_loads);
      EXPECT_EQ(on_gpu.applied, on_cpu.applied);
      skipped += !on_gpu.applied;
      if (step % 2 != 0) continue;
      EXPECT_EQ(gpu.evaluate().loss, cpu.evaluate().loss);
    }
    EXPECT_TRUE(bits_of_state(gpu) == bits_of_state(cpu));
    return skipped;
  }
};

TEST_F(MicroGraphsOf, AStepOfFiveAreLaunchedFourTimes) {
  Trainer trainer(recipe(5), kStandIn, alone);
  count();
  trainer.step({});  // the first writes gradients, the second adds, the third is recorded
  EXPECT_EQ(recorded(), 1);
  EXPECT_EQ(launched(), 2);
  trainer.step({});
  EXPECT_EQ(recorded(), 2);
  EXPECT_EQ(launched(), 6);
  const int64_t allocations = memory_use(kStandIn).system_allocations;
  for (int step = 0; step < 3; ++step) trainer.step({});
  EXPECT_EQ(recorded(), 2);
  EXPECT_EQ(launched(), 18);
  EXPECT_EQ(memory_use(kStandIn).system_allocations, allocations);
}

TEST_F(MicroGraphsOf, AnyNumberHaveTheCpusBits) {
  for (const int num_micro : {1, 2, 5})
    for (const char* compute : {"f32", "bf16"}) {
      SCOPED_TRACE(std::to_string(num_micro) + " " + compute);
      count();
      EXPECT_EQ(expect_the_cpus_bits(recipe(num_micro, compute), 6), 0);
      // Of the first step's microbatches one warms up each of two kinds; of two there is one kind.
      const std::map<int, int64_t> expected = {{1, 0}, {2, 5}, {5, 22}};
      EXPECT_EQ(launched(), expected.at(num_micro));
      EXPECT_EQ(stand_in_counts().graphs_alive, before.graphs_alive);
    }
}

TEST_F(MicroGraphsOf, RecomputedActivationsHaveTheCpusBits) {
  for (const Recomputation recompute : {Recomputation::selective, Recomputation::full}) {
    SCOPED_TRACE(name_of(recompute));
    Recipe options = recipe(3, "bf16");
    options.parallel.recompute = recompute;
    count();
    expect_the_cpus_bits(options, 4);
    EXPECT_EQ(launched(), 6);
  }
}

TEST_F(MicroGraphsOf, DocumentsAndATiedHeadHaveTheCpusBits) {
  Recipe options = recipe(3);
  options.data.attend_across_documents = false;
  options.model.tie_word_embeddings = true;
  count();
  expect_the_cpus_bits(options, 4);
  EXPECT_EQ(launched(), 6);
}

TEST_F(MicroGraphsOf, ABatchThatGrowsUsesTheSameGraphs) {
  Recipe options = recipe(4);
  options.batch.ramp = {.from = 2, .increment = 2, .tokens = 2 * 12 * 8};
  count();
  Trainer trainer(options, kStandIn, alone);
  std::set<int64_t> sizes;
  for (int step = 0; step < 8; ++step) sizes.insert(trainer.step({}).sequences);
  EXPECT_EQ(sizes, (std::set<int64_t>{2, 4, 6, 8}));
  EXPECT_EQ(recorded(), 2);
  expect_the_cpus_bits(options, 8);
}

TEST_F(MicroGraphsOf, EveryLossScaleUsesTheSameGraphs) {
  Recipe options = recipe(4, "f16");
  options.precision.loss_scaling.initial = 1 << 26;  // falls, step by step, until it is good
  options.precision.loss_scaling.growth_interval = 2;
  count();
  EXPECT_GT(expect_the_cpus_bits(options, 40), 2);
  EXPECT_EQ(recorded(), 2);
}

TEST_F(MicroGraphsOf, ATraceSeesEveryKernel) {
  Trainer trainer(recipe(3), kStandIn, alone);
  for (int step = 0; step < 3; ++step) trainer.step({});
  count();
  trace::start();
  trainer.step({});
  trace::stop();
  EXPECT_EQ(launched(), 0);
  trainer.step({});
  EXPECT_EQ(launched(), 2);
}

TEST_F(MicroGraphsOf, NothingIsRecordedWhereItCannotBeOrShallNot) {
  const std::vector<std::pair<const char*, std::function<void(Recipe&)>>> cases = {
      {"off", [](Recipe& r) { r.run.cuda_graphs = false; }},
      {"experts in f32", [](Recipe& r) { r.model = tiny_deepseek(); }},
      {"all forward passes first", [](Recipe& r) { r.parallel.schedule = "gpipe"; }},
      {"sums in each microbatch", [](Recipe& r) { r.parallel.zero = 2; }},
      {"sums as a tree", [](Recipe& r) { r.run.determinism = Determinism::layout_free; }}};
  for (const auto& [name, change] : cases) {
    SCOPED_TRACE(name);
    Recipe options = recipe(4);
    change(options);
    count();
    expect_the_cpus_bits(options, 3);
    EXPECT_EQ(recorded(), 0);
  }
}

// Experts, multi-token prediction and balance losses, biases that move after each step, and every
// token counted once, also where the forward pass is made twice.
TEST_F(MicroGraphsOf, ExpertsHaveTheCpusBitsAndCounts) {
  for (const char* compute : {"bf16", "f16"})
    for (const Recomputation recompute :
         {Recomputation::none, Recomputation::selective, Recomputation::full}) {
      SCOPED_TRACE(std::string(compute) + " " + name_of(recompute));
      Recipe options = experts(3, compute);
      options.parallel.recompute = recompute;
      count();
      expect_the_cpus_bits(options, 4);
      EXPECT_EQ(launched(), 6);
    }
}

TEST_F(MicroGraphsOf, ChoicesThatAreRecordedOrReplayedGoThroughTheHost) {
  Trainer trainer(experts(3, "bf16"), kStandIn, alone), other(experts(3, "bf16"), kStandIn, alone);
  RoutingRecord record;
  for (int step = 1; step <= 4; ++step) {
    trainer.routing()->record(step == 3 ? &record : nullptr);
    other.routing()->replay(step == 3 ? &record : nullptr);
    count();
    const StepReport recorded = trainer.step({}), replayed = other.step({});
    EXPECT_EQ(launched(), step == 2 || step == 4 ? 2 * 2 : 0) << "step " << step;
    EXPECT_EQ(recorded.loss, replayed.loss);
    expect_same_loads(recorded.expert_loads, replayed.expert_loads);
  }
  EXPECT_EQ(record.chosen.size(), 4U) << "a step's layers with experts";
  EXPECT_EQ(other.routing()->flips().rows, 4 * 6 * 12);
  EXPECT_EQ(other.routing()->flips().flipped, 0);
}

// How many targets a step has changes what balance losses weigh, not what is recorded.
TEST_F(MicroGraphsOf, DocumentsAndBalanceLossesHaveTheCpusBits) {
  Recipe options = experts(3, "bf16");
  options.data.attend_across_documents = false;
  count();
  expect_the_cpus_bits(options, 4);
  EXPECT_EQ(launched(), 6);
}

// The last test, since the stand-in is slow once it has handed out much memory. The memory of a
// thread that has ended is anybody's, so the second run asks for what it needs more.
TEST_F(MicroGraphsOf, TheyNeedHardlyMoreMemory) {
  const auto activations = static_cast<size_t>(MemoryClass::activations);
  const auto train = [&](bool graphs) {
    Recipe options = recipe(4, "bf16");
    options.model.hidden_size = 64;
    options.model.intermediate_size = 160;
    options.data.sequence_length = 256;
    options.batch = {.global = 64, .micro = 16};
    options.run.cuda_graphs = graphs;
    restart_peaks(kStandIn);
    const int64_t bytes = memory_use(kStandIn).system_bytes;
    std::thread([&] {
      Communicators own;
      Trainer trainer(options, kStandIn, own);
      for (int step = 0; step < 3; ++step) trainer.step({});
      trainer.evaluate();
    }).join();
    return memory_use(kStandIn).system_bytes - bytes;
  };
  train(false);
  const int64_t peak = memory_use(kStandIn).peak[activations];
  EXPECT_GT(peak, 20 << 20);
  count();
  EXPECT_LE(train(true), 10 << 20) << "small blocks are cut from one of 8 MiB of its own";
  const int64_t tokens_of_graphs = 2 * 3 * (16 * 256) * 4;  // with targets and positions, i32
  EXPECT_EQ(memory_use(kStandIn).peak[activations], peak + tokens_of_graphs);
  EXPECT_EQ(launched(), 7);
}

}  // namespace
}  // namespace tessera::test
