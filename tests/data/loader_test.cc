// SPDX-License-Identifier: Apache-2.0
#include "data/loader.h"

#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/eval_windows.h"
#include "kernels/base/check.h"
#include "tests/support/temporary.h"

namespace tessera {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

void write_tokens(const std::string& prefix, const std::vector<std::vector<int32_t>>& documents) {
  TokenFileWriter writer(prefix, 60000);
  for (const std::vector<int32_t>& document : documents) {
    writer.add(document);
    writer.end_document();
  }
  writer.finish({});
}

// One document: begin, begin + 1, ...
std::vector<int32_t> counting(int32_t begin, int32_t count) {
  std::vector<int32_t> tokens;
  for (int32_t i = 0; i < count; ++i) tokens.push_back(begin + i);
  return tokens;
}

struct LoaderTest : testing::Test {
  TemporaryDirectory directory;
  LoaderOptions options;

  LoaderTest() {
    write_tokens(directory / "a", {counting(0, 1003)});
    options = {.sources = {{directory / "a"}},
               .sequence_length = 10,
               .global_batch = 8,
               .micro_batch = 2,
               .seed = 7,
               .vocab_size = 60000};
  }
};

std::string what_next_says(Loader& loader) {
  try {
    loader.next();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST_F(LoaderTest, GivesEveryWindowOnceAnEpochWithTargetsOneLater) {
  Loader loader(options);
  EXPECT_EQ(loader.samples_per_epoch(), 100);
  std::map<int32_t, int> seen;
  for (int step = 0; step < 25; ++step) {
    const Batch batch = loader.next();
    EXPECT_EQ(batch.step, step);
    ASSERT_EQ(batch.micros.size(), 4u);
    for (const MicroBatch& micro : batch.micros) {
      ASSERT_EQ(micro.num_sequences, 2);
      ASSERT_EQ(micro.tokens.size(), 20u);
      EXPECT_EQ(micro.num_targets, 20);
      EXPECT_TRUE(micro.document_starts.empty());
      for (size_t i = 0; i < 20; ++i) {
        EXPECT_EQ(micro.targets[i], micro.tokens[i] + 1);
        EXPECT_EQ(micro.positions[i], static_cast<int32_t>(i % 10));
      }
      ++seen[micro.tokens[0]], ++seen[micro.tokens[10]];
    }
  }
  // 200 samples = two epochs.
  EXPECT_EQ(seen.size(), 100u);
  for (const auto& [first, times] : seen) EXPECT_EQ(times, 2) << first;
  EXPECT_EQ(loader.cursor().samples, 200);
}

TEST_F(LoaderTest, GivesTheSameGlobalSamplesToAnyNumberOfShards) {
  Loader whole(options);
  for (int step = 0; step < 3; ++step) {
    const Batch expected = whole.next();
    for (const int shards : {2, 4}) {
      for (int r = 0; r < shards; ++r) {
        LoaderOptions part = options;
        part.num_shards = shards;
        part.shard_index = r;
        Loader loader(part);
        loader.seek({step * 8});
        const Batch batch = loader.next();
        EXPECT_EQ(batch.step, step);
        ASSERT_EQ(batch.micros.size(), static_cast<size_t>(4 / shards));
        for (size_t j = 0; j < batch.micros.size(); ++j)
          EXPECT_EQ(
              batch.micros[j].tokens,
              expected.micros[j * static_cast<size_t>(shards) + static_cast<size_t>(r)].tokens);
      }
    }
  }
}

TEST_F(LoaderTest, ResumesFromItsCursor) {
  Loader first(options);
  for (int step = 0; step < 5; ++step) first.next();
  const Cursor cursor = first.cursor();
  EXPECT_EQ(cursor.samples, 40);  // what was returned, not what was prefetched
  const Batch expected = first.next();
  Loader second(options);
  second.next();
  second.seek(cursor);
  const Batch batch = second.next();
  EXPECT_EQ(batch.step, 5);
  EXPECT_EQ(batch.micros[0].tokens, expected.micros[0].tokens);
  EXPECT_EQ(second.cursor().samples, 48);
}

TEST_F(LoaderTest, TakesMoreSamplesAStepAlongItsScheduleOnAnyNumberOfShards) {
  options.global_batch = BatchSchedule(std::vector<BatchSchedule::Size>{{0, 4}, {10, 8}, {28, 16}});
  Loader whole(options);
  int64_t sample = 0;
  for (const int64_t samples : {4, 4, 4, 8, 8, 16, 16}) {  // from 0, 4, 8, 12, 20, 28, 44
    const Batch expected = whole.next();
    EXPECT_EQ(expected.samples, samples);
    ASSERT_EQ(expected.micros.size(), static_cast<size_t>(samples / 2));
    for (const int shard : {0, 1}) {
      LoaderOptions part = options;
      part.num_shards = 2;
      part.shard_index = shard;
      Loader loader(part);
      loader.seek({sample});
      const Batch batch = loader.next();
      EXPECT_EQ(batch.step, expected.step);
      EXPECT_EQ(batch.samples, samples);
      ASSERT_EQ(batch.micros.size(), static_cast<size_t>(samples / 4));
      for (size_t j = 0; j < batch.micros.size(); ++j)
        EXPECT_EQ(batch.micros[j].tokens,
                  expected.micros[2 * j + static_cast<size_t>(shard)].tokens);
    }
    sample += samples;
    EXPECT_EQ(whole.cursor().samples, sample);
  }
}

TEST_F(LoaderTest, MixesSourcesByWeightAndResumesInTheMiddle) {
  write_tokens(directory / "b", {counting(5000, 400)});
  options.sources = {{directory / "a", 3}, {directory / "b", 1}};
  Loader loader(options);
  EXPECT_EQ(loader.samples_per_epoch(), 139);
  int from_b = 0;
  for (int step = 0; step < 10; ++step)
    for (const MicroBatch& micro : loader.next().micros)
      from_b += (micro.tokens[0] >= 5000) + (micro.tokens[10] >= 5000);
  EXPECT_EQ(from_b, 20);
  const Batch expected = loader.next();
  Loader again(options);
  again.seek({80});
  EXPECT_EQ(again.next().micros[3].tokens, expected.micros[3].tokens);
}

TEST_F(LoaderTest, KeepsDocumentsApart) {
  write_tokens(directory / "d", {{10, 11, 12}, {}, {20}, {30, 31, 32, 33, 34, 35, 36}});
  options.sources = {{directory / "d"}};
  options.sequence_length = 5;
  options.global_batch = 2;
  options.shuffle = false;
  options.attend_across_documents = false;
  Loader loader(options);
  const Batch batch = loader.next();
  const MicroBatch& micro = batch.micros[0];
  EXPECT_THAT(micro.tokens, ElementsAre(10, 11, 12, 20, 30, 31, 32, 33, 34, 35));
  EXPECT_THAT(micro.targets, ElementsAre(11, 12, -1, -1, 31, 32, 33, 34, 35, 36));
  EXPECT_THAT(micro.positions, ElementsAre(0, 1, 2, 0, 0, 0, 1, 2, 3, 4));
  EXPECT_THAT(micro.document_starts, ElementsAre(0, 0, 0, 3, 4, 0, 0, 0, 0, 0));
  EXPECT_EQ(micro.num_targets, 8);
}

TEST_F(LoaderTest, RethrowsWhatItsThreadMet) {
  options.vocab_size = 500;
  options.shuffle = false;
  Loader loader(options);
  for (int step = 0; step < 6; ++step) loader.next();  // windows 0 .. 47 hold tokens 0 .. 480
  EXPECT_THAT(what_next_says(loader),
              HasSubstr("a.bin: token 500 is 500 but the model's vocab_size is 500"));
  EXPECT_THAT(what_next_says(loader), HasSubstr("token 500"));
  EXPECT_EQ(loader.cursor().samples, 48);
  loader.seek({0});
  EXPECT_EQ(loader.next().step, 0);
}

TEST_F(LoaderTest, RefusesOptionsThatCannotWork) {
  LoaderOptions bad = options;
  bad.num_shards = 3;
  EXPECT_THROW(Loader{bad}, Error);
  bad = options;
  bad.global_batch = BatchSchedule(std::vector<BatchSchedule::Size>{{0, 8}, {80, 9}});
  EXPECT_THROW(Loader{bad}, Error);
  bad = options;
  bad.sequence_length = 1003;
  EXPECT_THROW(Loader{bad}, Error);
  bad = options;
  bad.sources.clear();
  EXPECT_THROW(Loader{bad}, Error);
}

TEST_F(LoaderTest, StopsWhileItsThreadIsBusy) {
  for (int i = 0; i < 50; ++i) {
    Loader loader(options);
    if (i % 2 == 0) loader.next();
    if (i % 3 == 0) loader.seek({i});
  }
}

TEST_F(LoaderTest, EvaluatesEveryTokenButTheFirstExactlyOnce) {
  for (const int64_t length : {10, 64, 167, 1001, 1002, 1003, 5000}) {
    const EvalWindows windows(directory / "a", length, 60000);
    std::vector<int> predicted(1003, 0);
    int64_t targets = 0;
    // Two shards of equally many windows; the last may lie beyond the end.
    const int64_t each = (windows.count() + 1) / 2;
    for (int shard = 0; shard < 2; ++shard) {
      const MicroBatch micro = windows.read(shard * each, each);
      ASSERT_EQ(micro.targets.size(), static_cast<size_t>(each * length));
      targets += micro.num_targets;
      for (const int32_t target : micro.targets)
        if (target >= 0) ++predicted[static_cast<size_t>(target)];
    }
    EXPECT_EQ(targets, 1002) << length;
    EXPECT_EQ(predicted[0], 0);
    for (size_t i = 1; i < predicted.size(); ++i) EXPECT_EQ(predicted[i], 1) << i;
  }
}

}  // namespace
}  // namespace tessera
