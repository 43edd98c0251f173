// SPDX-License-Identifier: Apache-2.0
#include "trainer/verify/judge.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tessera::test {
namespace {

using testing::HasSubstr;

// 100 elements of a matrix, 4 of a norm; one step.
Captured run(double matrix_error, double norm_error = 0) {
  Captured run;
  run.losses = {5};
  run.grad_norms = {2};
  std::vector<double> matrix(100, 1), norm(4, 1);
  matrix[7] += 10 * matrix_error;  // of a norm of 10
  norm[2] += 2 * norm_error;       // of a norm of 2
  run.gradients = {{"model.layers.3.w", matrix}, {"model.layers.3.norm", norm}};
  run.weights = run.states["first moment"] = run.states["second moment"] = run.gradients;
  return run;
}

Bound bound_of(double one_rank_error) {
  return {errors_against(run(0), run(one_rank_error, one_rank_error)), 1e-9};
}

TEST(Judge, MeasuresRelativeFrobeniusErrorsAndPoolsSmallTensors) {
  const Errors errors = errors_against(run(0), run(1e-3, 1e-2));
  EXPECT_NEAR(errors.gradients.at("model.layers.3.w"), 1e-3, 1e-9);
  EXPECT_NEAR(errors.gradients.at("small tensors of model.layers.3"), 1e-2, 1e-9);
  EXPECT_EQ(errors.furthest.at("small tensors of model.layers.3"), "model.layers.3.norm");
  EXPECT_EQ(errors.loss, 0);
}

TEST(Judge, AllowsTwiceTheErrorOfOneRankAndNamesWhatIsBeyond) {
  EXPECT_EQ(judge(run(0), run(1.9e-3), bound_of(1e-3), nullptr).kind, Verdict::Kind::within_bound);
  const Verdict beyond = judge(run(0), run(2.1e-3), bound_of(1e-3), nullptr);
  EXPECT_EQ(beyond.kind, Verdict::Kind::differs);
  EXPECT_THAT(beyond.reason, HasSubstr("gradient of model.layers.3.w: error 2.1e-03"));
  const Verdict small = judge(run(0), run(0, 3e-3), bound_of(1e-3), nullptr);
  EXPECT_THAT(small.reason, HasSubstr("gradient of model.layers.3.norm"));
}

// The second gradient is taken at weights that rounding has moved already.
TEST(Judge, AllowsMomentsToFollowTheWeightsAfterTheFirstStep) {
  Bound bound = bound_of(1e-9);
  bound.one_rank.weights = 1e-4;
  for (const int steps : {1, 2}) {
    Captured reference = run(0), layout = run(0);
    reference.losses.resize(steps, 5);
    reference.grad_norms.resize(steps, 2);
    layout.losses = reference.losses;
    layout.grad_norms = reference.grad_norms;
    layout.states["first moment"]["model.layers.3.w"][7] += 10 * 3e-3;  // 16 * 2e-4 are allowed
    const Verdict verdict = judge(reference, layout, bound, nullptr);
    EXPECT_EQ(verdict.kind, steps == 1 ? Verdict::Kind::differs : Verdict::Kind::within_bound);
    layout.states["first moment"]["model.layers.3.w"][7] += 10 * 1e-3;
    EXPECT_THAT(judge(reference, layout, bound, nullptr).reason, HasSubstr("optimizer state"));
  }
}

TEST(Judge, TakesWhatIsNotANumberForADifference) {
  for (const double broken : {std::nan(""), HUGE_VAL}) {
    EXPECT_EQ(judge(run(0), run(broken), bound_of(1e-3), nullptr).kind, Verdict::Kind::differs);
    Captured lost = run(0);
    lost.losses[0] = broken;
    EXPECT_EQ(judge(run(0), lost, bound_of(1e-3), nullptr).kind, Verdict::Kind::differs);
  }
}

TEST(Judge, HoldsTwinsToTheBit) {
  const Captured first = run(1e-3);
  EXPECT_EQ(judge(run(0), run(1e-3), bound_of(1e-3), &first).kind, Verdict::Kind::bit_equal);
  Captured other = run(1e-3);
  other.states["first moment"]["model.layers.3.norm"][0] *= 1 + 1e-15;
  const Verdict verdict = judge(run(0), other, bound_of(1e-3), &first);
  EXPECT_EQ(verdict.kind, Verdict::Kind::differs);
  EXPECT_EQ(verdict.reason, "not bit-equal: first moment of model.layers.3.norm");
}

}  // namespace
}  // namespace tessera::test
