// SPDX-License-Identifier: Apache-2.0
// Bugs planted between the ranks, one at a time: each must be found, and named by tensor.
#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/base/exact_sum.h"
#include "kernels/copy.h"
#include "kernels/elementwise.h"
#include "tests/support/faulty_communicator.h"
#include "tests/support/rank_world.h"
#include "tests/support/temporary.h"
#include "tests/support/tiny_model.h"
#include "trainer/training_plan.h"
#include "trainer/verify/judge.h"

namespace tessera::test {
namespace {

using testing::HasSubstr;

struct Case {
  std::string name;
  std::string layout;
  Plant plant;
  std::string named;  // what the verdict must name
};

Tensor my_rows(const Communicator& group, const Tensor& whole, const Cut& cut) {
  const Interval mine = cut.part(group.rank());
  return whole.row_slice(mine.first, mine.extent);
}

// --- What goes wrong.
void keep_own(Communicator&, Stream& stream, const Tensor& in, const Tensor& out) {
  copy(stream, in, out);
}
void keep_own_rows(Communicator& group, Stream& stream, const Tensor& in, const Cut& cut,
                   const Tensor& out) {
  copy(stream, my_rows(group, in, cut), out);
}
void sum_twice(Communicator& group, Stream& stream, const Tensor& in, const Cut& cut,
               const Tensor& out) {
  group.reduce_scatter(stream, in, cut, out, Reduce::sum);
  add(stream, out, out, out);
}
void count_twice(Communicator& group, Stream& stream, const Tensor& in, const Tensor& out) {
  group.all_reduce(stream, in, out, Reduce::sum);
  add(stream, out, out, out);
}
void gather_nothing(Communicator& group, Stream& stream, const Tensor& in, const Cut& cut,
                    const Tensor& out) {
  copy(stream, in, my_rows(group, out, cut));  // the others' rows stay as they were
}
// As if the other slice of the vocabulary were this one again.
void own_slice_twice(Communicator&, Stream& stream, const Tensor& in, const Cut&,
                     const Tensor& out) {
  for (const int64_t first : {int64_t{0}, in.rows()})
    copy(stream, in, out.row_slice(first, in.rows()));
}
// Right the first time, when there is nothing old to keep.
void keep_stale(Communicator& group, Stream& stream, const Tensor& in, const Cut& cut,
                const Tensor& out) {
  const Tensor last = out.row_slice(out.rows() - 1, 1), first = out.row_slice(0, 1);
  bool old = false;
  for (int64_t i = 0; i < out.columns(); ++i)
    old |= last.as<float>()[i] != 0 && first.as<float>()[i] != 0;
  const bool any_stale = group.all_reduce(int64_t{old}, Reduce::min) != 0;
  if (!any_stale) group.all_gather(stream, in, cut, out);
}
// The last row of the first part is taken for the first row of the next.
void leak_a_row(Communicator& group, Stream& stream, const Tensor& in, const Cut& cut,
                const Tensor& out) {
  group.all_gather(stream, in, cut, out);
  const int64_t border = cut.part(1).first;
  copy(stream, out.row_slice(border - 1, 1), out.row_slice(border, 1));
}
// One rank's gradients lack a factor, as if it had forgotten the loss scale.
void forget_the_scale(Communicator& group, Stream& stream, const Tensor& in, const Cut& cut,
                      const Tensor& out) {
  if (group.rank() == 1) scale(stream, in, 1.0 / 1024, in);
  group.reduce_scatter(stream, in, cut, out, Reduce::sum);
}
// The step's statistics: two exact sums (loss, norm), then the number of targets.
void with_own_words(Communicator& group, Stream& stream, const Tensor& in, const Tensor& out,
                    int64_t first, int64_t count) {
  std::vector<int64_t> own(in.as<int64_t>() + first, in.as<int64_t>() + first + count);
  group.all_reduce(stream, in, out, Reduce::sum);
  std::copy(own.begin(), own.end(), out.as<int64_t>() + first);
}
void norm_of_own_group(Communicator& group, Stream& stream, const Tensor& in, const Tensor& out) {
  with_own_words(group, stream, in, out, ExactSum::kWords, ExactSum::kWords);
}
void own_token_count(Communicator& group, Stream& stream, const Tensor& in, const Tensor& out) {
  with_own_words(group, stream, in, out, 3 * ExactSum::kWords, 1);
}

// The data group of the communicators at hand, for a call that goes to the wrong one.
Communicator* wrong_group = nullptr;
void sum_over_the_data_group(Communicator&, Stream& stream, const Tensor& in, const Cut& cut,
                             const Tensor& out) {
  wrong_group->reduce_scatter(stream, in, cut, out, Reduce::sum);
}

std::vector<Case> cases() {
  const auto scatter = [](const char* label, const char* tag, auto&& what) {
    Plant plant{.label = label, .tag = tag};
    plant.reduce_scatter = what;
    return plant;
  };
  const auto gather = [](const char* label, const char* tag, auto&& what) {
    Plant plant{.label = label, .tag = tag};
    plant.all_gather = what;
    return plant;
  };
  const auto reduce = [](const char* label, const char* tag, auto&& what) {
    Plant plant{.label = label, .tag = tag};
    plant.all_reduce = what;
    return plant;
  };
  Plant swapped{.label = "pipeline"};
  // Microbatches 0 and 1 of the activations that the first stage sends.
  swapped.channel = [](int channel) { return channel < 2 ? 1 - channel : channel; };
  const std::string model = "gradient of model.";
  return {
      {"activations are not summed", "tensor=2", scatter("tensor", "activations", keep_own_rows),
       model},
      {"activation gradients are not summed", "tensor=2",
       scatter("tensor", "activation gradients", keep_own_rows), model},
      {"the embedding is not summed", "tensor=2", scatter("tensor", "embedding", keep_own_rows),
       model},
      {"a slice of the vocabulary has the wrong offset", "tensor=2",
       gather("tensor", "softmax", own_slice_twice), model},
      {"a row leaks over the border of a part", "tensor=2",
       gather("tensor", "activations", leak_a_row), model},
      {"norm gradients are not summed over the tensor group", "tensor=2",
       reduce("tensor", "replicated gradients", keep_own), "norm.weight"},
      {"norm gradients are counted twice", "tensor=2",
       reduce("tensor", "replicated gradients", count_twice), "norm.weight"},
      {"shared key-value heads are not summed", "tensor=4",
       reduce("tensor replicas", "replicated gradients", keep_own), "_proj.weight"},
      {"gradients are not summed over data", "data=2,zero=1",
       scatter("data", "gradients", keep_own_rows), model},
      {"activations are summed over the wrong group", "data=2,tensor=2",
       scatter("tensor", "activations", sum_over_the_data_group), model},
      {"gradients are summed twice", "data=2,zero=2", scatter("data", "gradients", sum_twice),
       model},
      {"one rank forgets the loss scale", "data=2,compute=f16",
       scatter("data", "gradients", forget_the_scale), model},
      {"gradients are scaled by the rank's own tokens", "data=2",
       reduce("world", "step statistics", own_token_count), model},
      {"weights stay stale after the update", "data=2,zero=1",
       gather("data", "weights", keep_stale), "most in "},
      {"a gathered weight is stale", "data=2,zero=3", gather("data", "weights", gather_nothing),
       model},
      {"tied weights are not summed", "pipeline=2",
       reduce("tied stages", "tied gradients", keep_own), "model.embed_tokens.weight"},
      {"two microbatches change places", "pipeline=2", swapped, model},
      {"the norm is of one group only", "tensor=2",
       reduce("world", "step statistics", norm_of_own_group), "gradient norm"},
  };
}

struct Faults : testing::Test {
  std::optional<TemporaryDirectory> mine;  // rank 0's
  std::string directory;
  Communicators alone;
  std::map<std::string, Captured> references;
  std::map<std::string, Bound> bounds;

  Faults() {
    if (world().rank() == 0) {
      mine.emplace();
      write_tiny_tokens(*mine / "tokens");
      directory = mine->path();
    }
    directory = world().all().broadcast(directory, 0, "directory");
  }
  ~Faults() override { world().all().barrier("end of test"); }

  Recipe recipe() const {
    Recipe tiny = tiny_recipe(directory + "/tokens");
    tiny.model.tie_word_embeddings = true;
    return tiny;
  }

  Verdict verdict_of(const std::string& text, const Plant* plant) {
    const Layout layout = parse_layout(text, recipe());
    const Recipe shaped = in_layout(recipe(), layout, 2);
    GridSizes sizes = grid_sizes(shaped.parallel);
    sizes.data = static_cast<int>(shaped.parallel.data);
    Communicators comms(world(), ProcessGrid(sizes),
                        shaped.model.kv_replicas(shaped.parallel.tensor));
    wrong_group = &comms.data();
    if (plant != nullptr)
      comms.replace([&](Communicator& group) {
        return group.label() == plant->label ? faulty(group, *plant) : nullptr;
      });
    Captured run;
    if (comms.member()) run = capture(shaped, comms);
    if (world().rank() > 0) return {};
    Layout base = parse_layout("", recipe());
    base.compute = layout.compute;
    const Captured one = capture(in_layout(recipe(), base, 2), alone);
    base.device = "reference";
    const Captured truth = capture(in_layout(recipe(), base, 2), alone);
    const double depth = static_cast<double>(shaped.batch.global * shaped.data.sequence_length);
    const Bound bound{errors_against(truth, one),
                      kSlack * unit_roundoff(dtype_of(layout.compute)) * std::sqrt(depth)};
    return judge(truth, run, bound, nullptr);
  }
};

TEST_F(Faults, AreFoundAndNamed) {
  for (const Case& planted : cases()) {
    SCOPED_TRACE(planted.name + " (" + planted.layout + ")");
    const Verdict sound = verdict_of(planted.layout, nullptr);
    const Verdict broken = verdict_of(planted.layout, &planted.plant);
    if (world().rank() > 0) continue;
    EXPECT_NE(sound.kind, Verdict::Kind::differs) << sound.reason;
    EXPECT_EQ(broken.kind, Verdict::Kind::differs);
    EXPECT_THAT(broken.reason, HasSubstr(planted.named));
  }
}

}  // namespace
}  // namespace tessera::test
