// SPDX-License-Identifier: Apache-2.0
#include "kernels/router.h"

#include <functional>
#include <limits>

#include <gmock/gmock.h>

#include "kernels/permute.h"
#include "tests/support/errors.h"
#include "tests/support/numeric.h"

namespace tessera::test {
namespace {

using testing::ElementsAre;

constexpr int64_t kRows = 37, kExperts = 24, kChosen = 5;

Tensor ints(Device device, int64_t rows, int64_t columns) {
  return Tensor(device, DType::i32, {rows, columns});
}
Tensor row_of(const std::vector<double>& values) {
  const Tensor out(kReference, DType::f64, {1, static_cast<int64_t>(values.size())});
  std::copy(values.begin(), values.end(), out.as<double>());
  return out;
}

// The choice among `values` on both backends, which must agree.
std::vector<int32_t> choose(const std::vector<double>& values, const ExpertGroups& groups,
                            int64_t count, const std::vector<float>& biases = {}) {
  const Tensor scores = row_of(values), index = ints(kReference, 1, count);
  Tensor bias;
  if (!biases.empty()) {
    bias = Tensor(kCpu, DType::f32, {1, static_cast<int64_t>(biases.size())});
    std::copy(biases.begin(), biases.end(), bias.as<float>());
  }
  router_choose(reference_stream(), scores, bias, groups, index);
  const Tensor on_cpu = ints(kCpu, 1, count);
  router_choose(cpu_stream(), converted(scores, kCpu, DType::f32), bias, groups, on_cpu);
  EXPECT_EQ(bits_of(index), bits_of(on_cpu));
  return {index.as<int32_t>(), index.as<int32_t>() + count};
}

TEST(Router, ChoosesTheBestAndOfEqualsTheLower) {
  EXPECT_THAT(choose({.1, .5, .3, .5, .2}, {}, 3), ElementsAre(1, 3, 2));
  EXPECT_THAT(choose({.5, .5, .5, .5}, {}, 2), ElementsAre(0, 1));
  EXPECT_THAT(choose({.1, .5, .3, .5, .2}, {}, 2, {1, 0, 0, 0, .7f}), ElementsAre(0, 4));
}

TEST(Router, KeepsGroupsByTheirBestOrByTheSumOfTheirBest) {
  const std::vector<double> scores = {.9, .0, .5, .5, .6, .1};
  EXPECT_THAT(choose(scores, {.groups = 3, .kept_groups = 1, .best_of_group = 1}, 2),
              ElementsAre(0, 1));
  EXPECT_THAT(choose(scores, {.groups = 3, .kept_groups = 1, .best_of_group = 2}, 2),
              ElementsAre(2, 3));
  EXPECT_THAT(choose(scores, {.groups = 3, .kept_groups = 2, .best_of_group = 1}, 3),
              ElementsAre(0, 4, 5));
}

// Masked by -inf, as DeepSeek's code does it, not by 0 as the port in transformers.
TEST(Router, NeverChoosesFromADroppedGroupHoweverLowTheOthersAre) {
  EXPECT_THAT(choose({.5, .1, .4, .4}, {.groups = 2, .kept_groups = 1, .best_of_group = 1}, 2,
                     {0, -9, 0, 0}),
              ElementsAre(0, 1));
}

TEST(Router, ChoosesDistinctExpertsFromScoresThatAreNoNumbers) {
  const double nan = std::nan(""), inf = std::numeric_limits<double>::infinity();
  EXPECT_THAT(choose({nan, nan, .3, nan}, {}, 3), ElementsAre(2, 0, 1));
  EXPECT_THAT(choose({nan, nan, nan, nan}, {.groups = 2, .kept_groups = 1}, 2), ElementsAre(0, 1));
  EXPECT_THAT(choose({-inf, inf, 0, -inf}, {}, 3), ElementsAre(1, 2, 0));
}

TEST(Router, ScoresOfExtremeLogitsAreFinite) {
  for (const Scoring scoring : {Scoring::softmax, Scoring::sigmoid}) {
    const Tensor logits = converted(row_of({1e4, -1e4, 0, 88, -88}), kCpu, DType::f32);
    const Tensor scores(kCpu, DType::f32, {1, 5});
    router_scores(cpu_stream(), scoring, logits, scores);
    double sum = 0;
    for (const double score : values_of(scores)) {
      EXPECT_GE(score, 0);
      EXPECT_LE(score, 1);
      sum += score;
    }
    EXPECT_NEAR(sum, scoring == Scoring::softmax ? 1 : 2.5, 1e-6);
  }
}

struct Routed {
  Tensor scores, index, weights, dlogits, shares, counts, loss, dshares;
};

// Everything from logits to their gradient; two sequences of 25 rows, of which rows 3 to 39.
Routed run(Stream& stream, const Tensor& logits, const Tensor& dweights, Scoring scoring,
           bool normalize) {
  const Device device = stream.device();
  const DType type = logits.dtype();
  const ExpertGroups groups{.groups = 4, .kept_groups = 2, .best_of_group = 2};
  const RouterWeights rule{.normalize = normalize, .factor = 2.5};
  const SequenceRows of{.first_row = 3, .length = 25};
  Routed out{Tensor(device, type, {kRows, kExperts}),   ints(device, kRows, kChosen),
             Tensor(device, type, {kRows, kChosen}),    Tensor(device, type, {kRows, kExperts}),
             Tensor(device, DType::f64, {2, kExperts}), Tensor(device, DType::i64, {2, 4}),
             Tensor(device, DType::f64, {2}),           Tensor(device, type, {2, kExperts})};
  for (const Tensor& zero : {out.counts, out.loss, out.dshares}) fill(stream, 0, zero);
  router_scores(stream, scoring, logits, out.scores);
  router_choose(stream, out.scores, {}, groups, out.index);
  router_weights(stream, out.scores, out.index, rule, out.weights);
  balance_shares(stream, out.scores, of, out.shares);
  count_choices(stream, out.index, kExperts / 4, of, out.counts);
  const Tensor scale(device, DType::f64, {2});
  scale.as<double>()[0] = 0.5;
  scale.as<double>()[1] = 4;
  balance_loss(stream, {.factor = 0.3, .chosen_by = 2, .devices = 4}, out.counts, out.shares, 25,
               0.75, scale, out.loss, out.dshares);
  router_backward(stream, scoring, out.scores, out.index, rule, dweights, of, out.dshares,
                  out.dlogits);
  return out;
}

TEST(Router, AgreesWithTheReferenceOnAnyThreadsAndPath) {
  const Tensor logits = normal(DType::f32, kRows, kExperts, 1, 2);
  const Tensor dweights = normal(DType::f32, kRows, kChosen, 2);
  const Tensor logits32 = converted(logits, kCpu, DType::f32);
  const Tensor dweights32 = converted(dweights, kCpu, DType::f32);
  for (const Scoring scoring : {Scoring::softmax, Scoring::sigmoid})
    for (const bool normalize : {false, true}) {
      const Routed truth = run(reference_stream(), logits, dweights, scoring, normalize);
      const Routed cpu = run(cpu_stream(), logits32, dweights32, scoring, normalize);
      EXPECT_EQ(bits_of(cpu.index), bits_of(truth.index));
      EXPECT_EQ(bits_of(cpu.counts), bits_of(truth.counts));
      expect_close(cpu.scores, truth.scores, DType::f32, "scores");
      expect_close(cpu.weights, truth.weights, DType::f32, "weights");
      expect_close(cpu.shares, truth.shares, DType::f32, "shares");
      expect_close(cpu.loss, truth.loss, DType::f32, "loss");
      expect_close(cpu.dshares, truth.dshares, DType::f32, "dshares");
      expect_close(cpu.dlogits, truth.dlogits, DType::f32, "dlogits");
      expect_same_bits_everywhere([&] {
        const Routed again = run(cpu_stream(), logits32, dweights32, scoring, normalize);
        return std::vector<Tensor>{again.scores, again.weights, again.shares, again.dlogits};
      });
    }
}

TEST(Router, BackwardIsTheSlopeOfWeightsAndShares) {
  const Tensor logits = normal(DType::f64, kRows, kExperts, 1);
  const Tensor dweights = normal(DType::f64, kRows, kChosen, 2);
  for (const Scoring scoring : {Scoring::softmax, Scoring::sigmoid})
    for (const bool normalize : {false, true}) {
      const Routed at = run(reference_stream(), logits, dweights, scoring, normalize);
      const auto objective = [&] {
        const Routed now = run(reference_stream(), logits, dweights, scoring, normalize);
        double sum = 0;
        for (int64_t i = 0; i < dweights.size(); ++i)
          sum += now.weights.as<double>()[i] * dweights.as<double>()[i];
        for (const double loss : values_of(now.loss)) sum += 1.5 * loss;
        return sum;
      };
      for (int64_t i = 0; i < logits.size(); i += 7) {
        double& element = logits.as<double>()[i];
        const double before = element;
        element = before + 1e-6;
        const double above = objective();
        element = before - 1e-6;
        const double below = objective();
        element = before;
        EXPECT_NEAR((above - below) / 2e-6, at.dlogits.as<double>()[i], 1e-8);
      }
    }
}

// DeepSeek-V3 eq 17-20 by hand: 2 tokens, 2 experts, k = 1, both choose expert 0 by p = 3/4.
TEST(Router, BalanceLossIsThatOfThePaper) {
  const Tensor scores = row_of({.75, .25, .3, .1}).reshaped({2, 2});
  const Tensor index = ints(kReference, 2, 1), counts(kReference, DType::i64, {1, 2});
  const Tensor shares(kReference, DType::f64, {1, 2}), loss(kReference, DType::f64, {1}),
      dshares(kReference, DType::f64, {1, 2});
  Stream& stream = reference_stream();
  for (const Tensor& zero : {counts, loss, dshares}) fill(stream, 0, zero);
  router_choose(stream, scores, {}, {}, index);
  count_choices(stream, index, 1, {.length = 2}, counts);
  balance_shares(stream, scores, {.length = 2}, shares);
  balance_loss(stream, {.factor = 0.1, .chosen_by = 1, .devices = 2}, counts, shares, 2, 1, {},
               loss, dshares);
  EXPECT_NEAR(loss.as<double>()[0], 0.1 * 2 * 0.75, 1e-15);  // f = (2, 0), P = (3/4, 1/4)
}

TEST(Permute, SortsSlotsByPlaceAndBringsThemBack) {
  const Tensor index = indices({2, 0, 1, 2, 0, 2}).reshaped({3, 2});
  const Tensor place = indices({1, 2, 0, 3});
  for (Stream* stream : {&cpu_stream(), &reference_stream()}) {
    const Tensor slots = ints(kCpu, 1, 6), position = ints(kCpu, 3, 2);
    const Tensor offsets(kCpu, DType::i64, {5});
    sort_slots(*stream, index, place, slots, position, offsets);
    EXPECT_THAT(std::vector<int32_t>(slots.as<int32_t>(), slots.as<int32_t>() + 6),
                ElementsAre(0, 3, 5, 1, 4, 2));
    EXPECT_THAT(std::vector<int32_t>(position.as<int32_t>(), position.as<int32_t>() + 6),
                ElementsAre(0, 3, 5, 1, 4, 2));
    EXPECT_THAT(std::vector<int64_t>(offsets.as<int64_t>(), offsets.as<int64_t>() + 5),
                ElementsAre(0, 3, 5, 6, 6));
  }
}

// Places of no slots before, between and behind the others, and no slots at all.
TEST(Permute, SaysWhereEachPlaceBegins) {
  for (const int64_t rows : {0, 1, 300}) {
    std::vector<int32_t> chosen, order;
    for (int64_t slot = 0; slot < 2 * rows; ++slot)
      chosen.push_back(static_cast<int32_t>(slot * slot % 40 + 5));
    for (int32_t expert = 0; expert < 50; ++expert) order.push_back((expert + 3) % 50);
    const Tensor index = ints(kCpu, rows, 2), place = indices(order);
    std::copy(chosen.begin(), chosen.end(), index.as<int32_t>());
    std::vector<int64_t> expected(51, 0);
    for (const int32_t expert : chosen)
      for (int32_t p = order[static_cast<size_t>(expert)]; p < 50; ++p)
        ++expected[static_cast<size_t>(p) + 1];
    for (Stream* stream : {&cpu_stream(), &reference_stream()}) {
      const Tensor slots = ints(kCpu, 1, 2 * rows), position = ints(kCpu, rows, 2);
      const Tensor offsets(kCpu, DType::i64, {51});
      sort_slots(*stream, index, place, slots, position, offsets);
      EXPECT_EQ(std::vector<int64_t>(offsets.as<int64_t>(), offsets.as<int64_t>() + 51), expected);
    }
  }
}

void expect_rows_moved(int64_t width) {
  const Tensor position = ints(kCpu, kRows, 3), slots = ints(kCpu, 1, 3 * kRows);
  for (int64_t i = 0; i < 3 * kRows; ++i) {
    position.as<int32_t>()[i] = static_cast<int32_t>(i * 7 % (3 * kRows));
    slots.as<int32_t>()[i] = static_cast<int32_t>(i * 5 % (3 * kRows));
  }
  const Tensor w = normal(DType::f32, kRows, 3, 3), all = normal(DType::f32, 3 * kRows, 1, 4);
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    const Tensor x = normal(dtype, kRows, width, 1), y = normal(dtype, 3 * kRows, width, 2);
    const auto on = [&](Stream& stream, DType type) {
      const Device device = stream.device();
      const DType wide = accumulation_type(type);
      const Tensor gathered(device, type, {3 * kRows, width});
      const Tensor combined = sliced(device, type, kRows, width);
      const Tensor g = converted(y, device, type), h(device, type, {3 * kRows, width});
      const Tensor dweights(device, wide, {3 * kRows});
      gather_rows(stream, converted(x, device, type, true), slots, 3, gathered);
      combine_rows(stream, g, position, converted(w, device, wide), combined);
      copy(stream, gathered, h);
      weigh_rows(stream, converted(all, device, wide), g, h, dweights);
      return std::vector<Tensor>{gathered, combined, g, h, dweights};
    };
    const auto truth = on(reference_stream(), DType::f64), cpu = on(cpu_stream(), dtype);
    for (size_t i = 0; i < truth.size(); ++i)
      expect_close(cpu[i], truth[i], i == 4 ? DType::f32 : dtype);
    expect_same_bits_everywhere([&] { return on(cpu_stream(), dtype); });
  }
}

TEST(Permute, MovesAndWeighsRowsAsTheReferenceDoes) {
  for (const int64_t width : {43, 48, 1032}) expect_rows_moved(width);
}

TEST(Router, RefusesWhatCannotBeChosen) {
  const Tensor scores(kCpu, DType::f32, {2, 8});
  const auto message = [&](const ExpertGroups& groups, int64_t count) {
    return error_of([&] { router_choose(cpu_stream(), scores, {}, groups, ints(kCpu, 2, count)); });
  };
  EXPECT_THAT(message({}, 9), testing::HasSubstr("as many experts"));
  EXPECT_THAT(message({.groups = 3}, 2), testing::HasSubstr("equal groups"));
  EXPECT_THAT(message({.groups = 4, .kept_groups = 1}, 3), testing::HasSubstr("as many experts"));
  EXPECT_THAT(message({.groups = 4, .kept_groups = 5}, 3), testing::HasSubstr("kept groups"));
}

}  // namespace
}  // namespace tessera::test
