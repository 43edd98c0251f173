// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/diff.h"

#include <cmath>

#include <gtest/gtest.h>

#include "checkpoint/layout.h"
#include "tests/support/checkpoint_states.h"
#include "tests/support/thread_communicator.h"

namespace tessera {
namespace {

using Kind = TensorDifference::Kind;

// 0, 1, 2 ... 11 in a (3, 4) tensor, cut into `size` parts.
StateEntry counting(const std::string& name, int rank, int size) {
  const ShardSpec shard = ShardSpec::whole({3, 4}).split(1, rank, size);
  StateEntry entry = blank_entry(name, "param", DType::f32, shard);
  each_element(shard, [&](int64_t position, int64_t index) {
    entry.tensor.as<float>()[position] = static_cast<float>(index);
  });
  return entry;
}

class Diff : public testing::Test {
 protected:
  // Saves on `size` ranks what `change` makes of the counting tensors "x" and "y".
  template <typename Change>
  CheckpointReader saved(int64_t step, int size, Change&& change) {
    run_ranks(size, [&](Communicator& world) {
      State state;
      for (const char* name : {"x", "y"})
        state.entries.push_back(counting(name, world.rank(), size));
      state.scalars = {{"step", "1"}, {"lr", "0.1"}};
      change(state);
      save_checkpoint(storage_, world, directory_.checkpoints(), save_info(step), state);
    });
    return CheckpointReader::open(storage_, directory_.checkpoints() + "/" + step_name(step));
  }
  TemporaryDirectory directory_;
  PosixStorage storage_;
};

TEST_F(Diff, TheSameStateInTwoLayoutsIsEqual) {
  CheckpointReader a = saved(1, 1, [](State&) {});
  CheckpointReader b = saved(2, 3, [](State&) {});
  int64_t last = 0;
  const CheckpointDiff diff =
      diff_checkpoints(a, b, {}, [&](int64_t done, int64_t total) { last = done - total; });
  EXPECT_TRUE(diff.equal());
  EXPECT_EQ(diff.tensors.size(), 2u);
  EXPECT_EQ(last, 0);
}

TEST_F(Diff, HowACheckpointCameAboutIsToldButNoDifference) {
  CheckpointReader a = saved(1, 1, [](State& s) { s.scalars["made_with.program"] = "old"; });
  CheckpointReader b = saved(2, 1, [](State& s) { s.scalars["made_with.program"] = "new"; });
  const CheckpointDiff diff = diff_checkpoints(a, b);
  EXPECT_TRUE(diff.equal());
  EXPECT_EQ(diff.scalars.size(), 1u);
}

TEST_F(Diff, SaysHowMuchDiffersAndWhere) {
  CheckpointReader a = saved(1, 1, [](State&) {});
  CheckpointReader b = saved(2, 1, [](State& state) {
    float* y = state.entries[1].tensor.as<float>();
    y[3] += 3;
    y[4] -= 4;
    state.scalars.erase("lr");
    state.scalars["step"] = "2";
    state.scalars["new"] = "n";
  });
  const CheckpointDiff diff = diff_checkpoints(a, b);
  EXPECT_FALSE(diff.equal());
  EXPECT_EQ(diff.tensors[0].kind, Kind::equal);
  EXPECT_EQ(diff.tensors[1].kind, Kind::values);
  EXPECT_EQ(diff.tensors[1].num_different, 2);
  EXPECT_EQ(diff.tensors[1].max_abs, 4);
  EXPECT_DOUBLE_EQ(diff.tensors[1].relative_frobenius, 5 / std::sqrt(506.0));
  EXPECT_EQ(describe(diff.tensors[1]),
            "y (param): 2 of 12 elements differ, max |a-b| 4, relative 0.222");
  ASSERT_EQ(diff.scalars.size(), 3u);
  EXPECT_EQ(diff.scalars[0].key, "lr");
  EXPECT_FALSE(diff.scalars[0].b.has_value());
  EXPECT_EQ(diff.scalars[1].b, "2");
  EXPECT_FALSE(diff.scalars[2].a.has_value());
}

TEST_F(Diff, NamesMissingTensorsAndOtherShapesAndTypes) {
  CheckpointReader a = saved(1, 1, [](State&) {});
  CheckpointReader b = saved(2, 1, [](State& state) {
    state.entries[0].name = "z";
    state.entries[1] = blank_entry("y", "param", DType::f32, ShardSpec::whole({4, 4}));
  });
  const CheckpointDiff diff = diff_checkpoints(a, b);
  ASSERT_EQ(diff.tensors.size(), 3u);
  EXPECT_EQ(diff.tensors[0].kind, Kind::only_in_a);
  EXPECT_EQ(diff.tensors[1].kind, Kind::shape);
  EXPECT_EQ(diff.tensors[2].kind, Kind::only_in_b);

  CheckpointReader c = saved(3, 1, [](State& state) {
    StateEntry& y = state.entries[1];
    const Tensor narrow(Device{}, DType::bf16, {12});
    for (int i = 0; i < 12; ++i) narrow.as<bf16>()[i] = to_bf16(y.tensor.as<float>()[i]);
    y.tensor = narrow;
  });
  const TensorDifference y = diff_checkpoints(a, c).tensors[1];
  EXPECT_EQ(y.kind, Kind::dtype);
  EXPECT_EQ(y.num_different, 0) << "0 to 11 are exact in bf16";
}

TEST_F(Diff, NaNEqualsTheSameNaNAndNothingElse) {
  const auto poison = [](State& state) { state.entries[0].tensor.as<float>()[5] = NAN; };
  CheckpointReader clean = saved(1, 1, [](State&) {});
  CheckpointReader a = saved(2, 1, poison);
  CheckpointReader b = saved(3, 1, poison);
  EXPECT_TRUE(diff_checkpoints(a, b).equal());
  const TensorDifference x = diff_checkpoints(clean, a).tensors[0];
  EXPECT_EQ(x.num_different, 1);
  EXPECT_TRUE(std::isinf(x.max_abs));
  EXPECT_TRUE(std::isinf(x.relative_frobenius));
}

}  // namespace
}  // namespace tessera
