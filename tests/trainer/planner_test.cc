// SPDX-License-Identifier: Apache-2.0
// Ranks of jobs that are not there, the largest of 4,096 ranks, played against each other.
#include "trainer/planner.h"

#include <map>
#include <tuple>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parallel/pipeline/generators.h"
#include "tests/support/tiny_model.h"
#include "trainer/model/build.h"
#include "trainer/model/counts.h"
#include "trainer/training_plan.h"

namespace tessera::test {
namespace {

using testing::Contains;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;

// The shapes of Llama-3-70B (arXiv:2407.21783) on 4,096 ranks.
Recipe llama_70b() {
  Recipe recipe = tiny_recipe("corpus", "bf16");
  recipe.model = {.vocab_size = 128256,
                  .hidden_size = 8192,
                  .intermediate_size = 28672,
                  .num_hidden_layers = 80,
                  .num_attention_heads = 64,
                  .num_key_value_heads = 8};
  recipe.data.sequence_length = 8192;
  recipe.batch = {.global = 1024, .micro = 1};
  recipe.parallel.data = 32;
  recipe.parallel.tensor = 8;
  recipe.parallel.pipeline = 16;
  recipe.parallel.schedule = "interleaved";
  recipe.parallel.chunks = 5;
  recipe.parallel.zero = 1;
  return recipe;
}
constexpr int kRanks = 4096;

using What = std::tuple<std::string, std::string, int64_t>;  // operation, tag, bytes

// What a rank tells one of its groups, in order.
std::vector<What> said_in(const PlayedRank& rank, const std::string& group) {
  std::vector<What> said;
  for (const DryCall& call : rank.calls)
    if (call.group == group) said.emplace_back(call.operation, call.tag, call.bytes);
  return said;
}

// Tags and bytes of the messages of one rank to, or from, another, in order.
std::vector<What> messages(const PlayedRank& rank, const std::string& operation, int peer) {
  std::vector<What> found;
  for (const DryCall& call : rank.calls)
    if (call.operation == operation && call.peers == std::vector<int>{peer})
      found.emplace_back("message", call.tag, call.bytes);
  return found;
}

int64_t bytes_of(const PlayedRank& rank, MemoryClass memory_class) {
  return rank.memory.peak[static_cast<size_t>(memory_class)];
}

TEST(Planner, PlaysAnyRankOf4096) {
  ASSERT_THAT(validate(llama_70b(), kRanks), IsEmpty());
  const DryJob job(llama_70b(), kRanks);
  ASSERT_EQ(job.grid().num_ranks(), kRanks);
  int64_t parameters = 0;  // of the first tensor rank's stages, all of them cut in eight
  for (const int rank : job.typical_ranks()) {
    const PlayedRank played = job.play(rank);
    EXPECT_EQ(played.layers, 5);
    EXPECT_GT(bytes_of(played, MemoryClass::activations), 0);
    parameters += played.parameters;
    const int64_t at_least = 2 * played.parameters;  // bf16
    EXPECT_GE(bytes_of(played, MemoryClass::weights), at_least);
    EXPECT_LT(bytes_of(played, MemoryClass::weights), at_least * 5 / 4);
  }
  const int64_t norms = (2 * 80 + 1) * 8192;  // on every tensor rank
  EXPECT_EQ((parameters - norms) * 8 + norms, num_parameters(llama_70b().model));
  EXPECT_EQ(num_parameters(llama_70b().model), 70553706496) << "published: 70.6 B";
}

TEST(Planner, PlaysTheFirstAndTheLargestStepOfARamp) {
  Recipe recipe = llama_70b();
  EXPECT_EQ(dry_jobs(recipe, kRanks).size(), 1u);
  recipe.parallel.chunks = 0;
  recipe.parallel.schedule = "gpipe";  // remembers every microbatch
  recipe.batch.ramp = {.from = 128, .increment = 128, .tokens = 1 << 30};
  ASSERT_THAT(validate(recipe, kRanks), IsEmpty());
  const std::vector<DryJob> jobs = dry_jobs(recipe, kRanks);
  ASSERT_EQ(jobs.size(), 2u);
  EXPECT_EQ(jobs[0].sequences(), 128);
  EXPECT_EQ(jobs[0].plan().num_micro, 4);
  EXPECT_EQ(jobs[1].sequences(), 1024);
  EXPECT_EQ(jobs[1].plan().num_micro, 32);
  EXPECT_GT(jobs[0].simulate().bubble(), jobs[1].simulate().bubble());
  EXPECT_LT(bytes_of(jobs[0].play(0), MemoryClass::activations),
            bytes_of(jobs[1].play(0), MemoryClass::activations));
}

// 2, 3, 4, 5, 6 microbatches over two ranks, of which dualpipe_v has plans for the last three.
TEST(Planner, PlaysTheLastStepOfEachScheduleOfARamp) {
  Recipe recipe = tiny_recipe("corpus");
  recipe.model.num_hidden_layers = 4;
  recipe.parallel.pipeline = 2;
  recipe.parallel.schedule = "dualpipe_v";
  recipe.batch.global = 12;
  recipe.batch.ramp = {.from = 4, .increment = 2, .tokens = 100, .schedule = "zb_v"};
  ASSERT_THAT(validate(recipe, 2), IsEmpty());
  std::vector<int> micros;
  for (const DryJob& job : dry_jobs(recipe, 2)) {
    EXPECT_GT(job.play(0).memory.system_bytes, 0);
    micros.push_back(job.plan().num_micro);
  }
  EXPECT_EQ(micros, (std::vector<int>{2, 3, 6}));
}

TEST(Planner, EverySendMeetsItsReceive) {
  const DryJob job(llama_70b(), kRanks);
  const int last = kRanks - 1;  // the last tensor and data rank of the last stage
  for (const int rank : {0, 256 * 7 + 3, last}) {
    const std::vector<int> ring = job.grid().ranks_along(Axis::pipeline, rank);
    const int coordinate = job.grid().coord(Axis::pipeline, rank);
    const int next = ring[static_cast<size_t>((coordinate + 1) % 16)];
    const PlayedRank here = job.play(rank), there = job.play(next);
    const std::vector<What> up = messages(here, "send", next);
    EXPECT_EQ(up.size(), 32u * (coordinate == 15 ? 4 : 5));  // microbatches x chunks
    EXPECT_EQ(up, messages(there, "receive", rank));
    EXPECT_EQ(messages(there, "send", rank), messages(here, "receive", next));
    EXPECT_EQ(messages(there, "send", rank).size(), up.size());
  }
}

TEST(Planner, TheMembersOfAGroupMakeTheSameCalls) {
  for (const int zero : {0, 1, 2, 3}) {
    Recipe recipe = llama_70b();
    recipe.parallel.zero = zero;
    const DryJob job(recipe, kRanks);
    const int rank = 256 * 15 + 9;
    const PlayedRank here = job.play(rank);
    for (const Axis axis : {Axis::tensor, Axis::data}) {
      const PlayedRank there = job.play(job.grid().ranks_along(axis, rank).back());
      ASSERT_NE(there.rank, rank);
      const std::vector<What> calls = said_in(here, name(axis));
      EXPECT_GT(calls.size(), 10u);
      EXPECT_EQ(said_in(there, name(axis)), calls) << name(axis) << " zero " << zero;
    }
    EXPECT_EQ(said_in(job.play(0), "world"), said_in(here, "world"));
  }
}

// Everything that every rank of a job says, held against what the others say.
void expect_agreement(const DryJob& job, const std::string& form) {
  std::vector<PlayedRank> ranks;
  for (int rank = 0; rank < job.grid().num_ranks(); ++rank) ranks.push_back(job.play(rank));
  for (const PlayedRank& here : ranks)
    for (const Axis axis : {Axis::pipeline, Axis::tensor, Axis::data}) {
      const std::vector<int> group = job.grid().ranks_along(axis, here.rank);
      for (const int peer : group) {
        const PlayedRank& there = ranks[static_cast<size_t>(peer)];
        if (axis == Axis::pipeline)
          EXPECT_EQ(messages(here, "send", peer), messages(there, "receive", here.rank)) << form;
        else
          EXPECT_EQ(said_in(here, name(axis)), said_in(there, name(axis))) << form;
      }
      EXPECT_EQ(said_in(here, "world"), said_in(ranks[0], "world")) << form;
    }
  const auto tied = [&](int rank) {
    return said_in(ranks[static_cast<size_t>(rank)], "tied stages");
  };
  EXPECT_EQ(tied(0), tied(job.typical_ranks().back())) << form;
}

TEST(Planner, AllRanksAgreeInEveryForm) {
  for (const ScheduleKind& schedule : schedule_kinds())
    for (const int zero : {0, 1, 2, 3})
      for (const Recomputation recompute :
           {Recomputation::none, Recomputation::selective, Recomputation::full}) {
        Recipe recipe = tiny_recipe("corpus", zero == 2 ? "f16" : "bf16");
        recipe.model.num_hidden_layers = 4;
        recipe.model.tie_word_embeddings = zero % 2 == 0;
        recipe.data.attend_across_documents = zero == 0;
        recipe.batch = {.global = 16, .micro = 2};
        recipe.parallel.tensor = recipe.parallel.pipeline = 2;
        recipe.parallel.zero = zero;
        recipe.parallel.schedule = schedule.name;
        recipe.parallel.recompute = recompute;
        ASSERT_THAT(validate(recipe, 8), IsEmpty());
        expect_agreement(DryJob(recipe, 8), std::string(schedule.name) + " zero " +
                                                std::to_string(zero) + " recompute " +
                                                name_of(recompute));
      }
}

TEST(Planner, PlaysDoublePrecisionToo) {
  Recipe recipe = tiny_recipe("corpus");
  const PlayedRank single = DryJob(recipe, 2).play(0);
  recipe.run.device = "reference";
  const PlayedRank wide = DryJob(recipe, 2).play(0);
  EXPECT_GT(bytes_of(wide, MemoryClass::weights), bytes_of(single, MemoryClass::weights));
}

TEST(Planner, ZeroCutsWhatItSaysItCuts) {
  std::map<int, PlayedRank> by_zero;
  for (const int zero : {0, 1, 2, 3}) {
    Recipe recipe = llama_70b();
    recipe.parallel.zero = zero;
    by_zero[zero] = DryJob(recipe, kRanks).play(0);
  }
  const auto bytes = [&](int zero, MemoryClass c) {
    return static_cast<double>(bytes_of(by_zero[zero], c));
  };
  // Rounded to the sizes of blocks: an eighth at most.
  EXPECT_NEAR(bytes(0, MemoryClass::optimizer) / bytes(1, MemoryClass::optimizer), 32, 4);
  EXPECT_EQ(bytes(0, MemoryClass::gradients), bytes(1, MemoryClass::gradients));
  EXPECT_LT(bytes(2, MemoryClass::gradients), bytes(1, MemoryClass::gradients) / 2);
  EXPECT_EQ(bytes(2, MemoryClass::weights), bytes(1, MemoryClass::weights));
  EXPECT_LT(bytes(3, MemoryClass::weights), bytes(2, MemoryClass::weights) / 2);
}

TEST(Planner, RecomputeKeepsLess) {
  std::map<std::string, int64_t> activations;
  for (const Recomputation recompute :
       {Recomputation::none, Recomputation::selective, Recomputation::full}) {
    Recipe recipe = llama_70b();
    recipe.parallel.recompute = recompute;
    activations[name_of(recompute)] =
        bytes_of(DryJob(recipe, kRanks).play(0), MemoryClass::activations);
  }
  EXPECT_LT(activations["selective"], activations["none"]);
  EXPECT_LT(activations["full"], activations["selective"] / 4);
}

TEST(Planner, CountsWhatIsSent) {
  Recipe recipe = tiny_recipe("corpus");
  recipe.parallel.zero = 1;
  const std::vector<Traffic> all = traffic(DryJob(recipe, 2).play(0).calls);
  const int64_t elements = num_parameters(recipe.model);
  int64_t gradients = 0, weights = 0;
  for (const Traffic& one : all) {
    EXPECT_EQ(one.ranks, 2);
    if (one.tag == "gradients") gradients += one.sent;
    if (one.tag == "weights") weights += one.sent;
  }
  EXPECT_EQ(gradients, 4 * elements / 2) << "half of all gradients leave this rank";
  EXPECT_EQ(weights, 4 * elements / 2);
  EXPECT_THAT(all, Contains(Field(&Traffic::tag, "step statistics")));
  EXPECT_THAT(traffic(DryJob(recipe, 1).play(0).calls), IsEmpty()) << "groups of one are silent";
}

TEST(Planner, StageTimesAddUpToTheFlopsOfATokenAndRecomputeAdds) {
  Recipe recipe = llama_70b();
  const auto sum_of = [](const Recipe& r) {
    double sum = 0;
    for (const StageTimes& stage : stage_times(r, DryJob(r, kRanks).plan()))
      sum += stage.forward + stage.backward_input + stage.backward_weight;
    return sum;
  };
  const double flops = training_flops_per_token(recipe.model, recipe.data.sequence_length);
  const double plain = sum_of(recipe);
  EXPECT_NEAR(2 * plain / flops, 1, 1e-12);
  recipe.parallel.recompute = Recomputation::full;
  EXPECT_GT(sum_of(recipe), 1.3 * plain);
  EXPECT_LT(sum_of(recipe), 4.0 / 3 * plain);
}

TEST(Planner, DealsBlocksEvenlyAndCountsThoseOfPrediction) {
  Recipe recipe = llama_70b();
  recipe.parallel.layers_per_stage.clear();
  const auto dealt = [&](int64_t layers, int64_t depth, int stages) {
    recipe.model.num_hidden_layers = layers;
    recipe.model.num_nextn_predict_layers = depth;
    return deal_layers(recipe, stages);
  };
  EXPECT_EQ(dealt(7, 0, 3), (std::vector<int64_t>{3, 2, 2}));
  EXPECT_EQ(dealt(7, 1, 3), (std::vector<int64_t>{3, 3, 1}));
  EXPECT_EQ(dealt(7, 1, 1), (std::vector<int64_t>{7}));
  EXPECT_EQ(dealt(4, 2, 4), (std::vector<int64_t>{2, 1, 1, 0}));
}

TEST(Planner, FindsTheCheapestChangeThatFits) {
  Recipe recipe = tiny_recipe("corpus", "bf16");
  recipe.model.vocab_size = 4096;
  recipe.model.num_attention_heads = recipe.model.num_key_value_heads = 1;  // no tensor axis
  recipe.model.num_hidden_layers = 1;                                       // no pipeline
  recipe.batch = {.global = 16, .micro = 4};
  const auto need = [](const Recipe& r) { return largest_need(DryJob(r, 4)).memory.system_bytes; };
  const auto one = cheapest_change(recipe, 4, need(recipe) - 1);
  ASSERT_TRUE(one);
  EXPECT_EQ(one->keys, "parallel.zero=1");
  Recipe changed = recipe;
  changed.parallel.zero = 1;
  EXPECT_EQ(one->need.memory.system_bytes, need(changed));

  // ZeRO cannot do it alone, nor can half the microbatch.
  recipe.data.sequence_length = 384;
  changed = recipe;
  changed.parallel.zero = 1;
  changed.batch.micro = 2;
  const auto two = cheapest_change(recipe, 4, need(changed));
  ASSERT_TRUE(two);
  EXPECT_LE(two->need.memory.system_bytes, need(changed));
  EXPECT_THAT(two->keys, HasSubstr(" ")) << "two changes";
  EXPECT_FALSE(cheapest_change(recipe, 4, 1000)) << "nothing fits into a kilobyte";
}

TEST(LegalLayouts, AreSoundAndTheNearestComeFirst) {
  Recipe recipe = llama_70b();
  recipe.parallel.data = 0;
  recipe.parallel.schedule = "1f1b";
  recipe.parallel.chunks = 0;
  recipe.parallel.tensor = 2;
  recipe.parallel.pipeline = 3;
  const std::vector<ParallelOptions> found = legal_layouts(recipe, 16, 4);
  ASSERT_EQ(found.size(), 4u);
  EXPECT_EQ(found[0].tensor, 2);
  EXPECT_EQ(found[0].pipeline, 4);  // 3 to 4 is nearer than 3 to 2
  EXPECT_EQ(found[1].tensor, 2);
  EXPECT_EQ(found[1].pipeline, 2);
  for (const ParallelOptions& layout : found) {
    Recipe changed = recipe;
    changed.parallel = layout;
    EXPECT_THAT(validate(changed, 16), IsEmpty());
  }
  const std::vector<RecipeProblem> problems = validate(recipe, 16);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_THAT(problems[0].message, HasSubstr("= 6 does not divide 16 ranks"));
  EXPECT_THAT(problems[0].message,
              HasSubstr("legal with 16 ranks: tensor 2 pipeline 4 data 2 | tensor 2 pipeline 2 "));
  recipe.batch.global = 1;  // one sequence cannot be cut over data ranks
  for (const ParallelOptions& layout : legal_layouts(recipe, 16, 4)) EXPECT_EQ(layout.data, 1);
}

}  // namespace
}  // namespace tessera::test
