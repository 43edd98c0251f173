// SPDX-License-Identifier: Apache-2.0
#include "parallel/grad_buckets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/errors.h"
#include "tests/support/rank_world.h"

namespace tessera::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// Hands everything to a group and notes which reductions were started.
class Noting : public Communicator {
 public:
  explicit Noting(Communicator& inner) : inner_(inner) {}
  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  const std::string& label() const override { return inner_.label(); }
  const char* transport() const override { return "noting"; }
  std::unique_ptr<Pending> start_reduce_scatter(Stream& stream, const Tensor& in, const Cut& cut,
                                                const Tensor& out, Reduce op,
                                                const char* tag) override {
    started.push_back(in.size());
    return inner_.start_reduce_scatter(stream, in, cut, out, op, tag);
  }
  std::unique_ptr<Pending> start_all_gather(Stream& stream, const Tensor& in, const Cut& cut,
                                            const Tensor& out, const char* tag) override {
    return inner_.start_all_gather(stream, in, cut, out, tag);
  }
  void all_reduce(Stream&, const Tensor&, const Tensor&, Reduce, const char*) override { no(); }
  void all_to_all(Stream&, const Tensor&, const Cut&, const Tensor&, const Cut&,
                  const char*) override {
    no();
  }
  void broadcast(Stream&, const Tensor&, int, const char*) override { no(); }
  std::unique_ptr<Pending> start_send(Stream&, const Tensor&, int, int, const char*) override {
    no();
  }
  std::unique_ptr<Pending> start_recv(Stream&, const Tensor&, int, int, const char*) override {
    no();
  }
  void barrier(const char*) override { no(); }
  std::vector<int64_t> started;  // elements of each reduction

 private:
  [[noreturn]] static void no() { fail(ErrorKind::internal, "buckets do not call this"); }
  Communicator& inner_;
};

// Five parameters with padding between some of them. A bucket takes parameters until it is full:
// {0, 1} with 11 elements, {2} alone, {3, 4}.
const std::vector<FlatRange> kParameters = {{0, 5}, {8, 3}, {16, 101}, {120, 7}, {127, 1}};
constexpr int64_t kElements = 131;
constexpr int64_t kBucketBytes = 10 * 4;  // ten f32

struct Buckets : testing::Test {
  Stream stream{Device{}};
  Noting data{world().all()};
  Tensor gradients{Device{}, DType::f32, {1, kElements}};
  GradBuckets buckets{stream, data, gradients, kParameters, kBucketBytes};

  static float mine(int rank, int64_t i) {
    return static_cast<float>((rank + 1) * 1000 + i);  // whole numbers: sums are exact
  }
  void fill_gradients() {
    for (int64_t i = 0; i < kElements; ++i) gradients.as<float>()[i] = mine(world().rank(), i);
  }
};

TEST_F(Buckets, SumEveryGradientOverTheRanks) {
  for (int step = 0; step < 3; ++step) {
    fill_gradients();
    buckets.begin_step();
    for (int parameter = 4; parameter >= 0; --parameter) buckets.mark_ready(parameter);
    buckets.wait();
    for (const FlatRange& range : kParameters)
      for (int64_t i = range.first; i < range.first + range.count; ++i) {
        float sum = 0;
        for (int rank = 0; rank < world().size(); ++rank) sum += mine(rank, i);
        ASSERT_EQ(gradients.as<float>()[i], sum) << "element " << i << ", step " << step;
      }
    // What follows the last parameter belongs to nobody and is left alone.
    for (int64_t i = 128; i < kElements; ++i)
      EXPECT_EQ(gradients.as<float>()[i], mine(world().rank(), i));
  }
}

TEST_F(Buckets, StartAsSoonAsTheLastOfTheirParametersIsReady) {
  ASSERT_EQ(buckets.num_buckets(), 3);
  fill_gradients();
  buckets.begin_step();
  buckets.mark_ready(4);
  EXPECT_THAT(data.started, IsEmpty());
  buckets.mark_ready(3);
  EXPECT_THAT(data.started, ElementsAre(8)) << "before parameters 0 to 2 are ready";
  buckets.mark_ready(0);
  buckets.mark_ready(2);
  EXPECT_THAT(data.started, ElementsAre(8, 101));
  buckets.mark_ready(1);
  EXPECT_THAT(data.started, ElementsAre(8, 101, 11));
  buckets.wait();
}

TEST_F(Buckets, RefuseAParameterMarkedTwiceOrNever) {
  fill_gradients();
  buckets.begin_step();
  EXPECT_THAT(error_of([&] { buckets.wait(); }), HasSubstr("never marked ready"));
  buckets.mark_ready(3);
  buckets.mark_ready(4);
  EXPECT_THAT(error_of([&] { buckets.mark_ready(3); }), HasSubstr("marked twice: 3"));
  EXPECT_THAT(error_of([&] { buckets.begin_step(); }), HasSubstr("was not waited for"));
  for (const int parameter : {2, 1, 0}) buckets.mark_ready(parameter);
  buckets.wait();
}

TEST_F(Buckets, RefuseRangesOutOfOrder) {
  EXPECT_THAT(error_of([&] {
                GradBuckets(stream, data, gradients, {{8, 4}, {0, 4}});
              }),
              HasSubstr("out of order at element 0"));
  EXPECT_THAT(error_of([&] {
                GradBuckets(stream, data, gradients, {{0, 9}, {8, 4}});
              }),
              HasSubstr("overlap"));
}

}  // namespace
}  // namespace tessera::test
