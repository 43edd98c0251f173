// SPDX-License-Identifier: Apache-2.0
// Training batches. Sample i of the run is a window of sequence_length + 1 stored tokens chosen by
// (seed, i) alone (data/order.h, data/mixture.h); a step takes as many samples in a row as
// global_batch says (data/batch_schedule.h), and a shard takes its microbatches out of them. So
// every layout trains on the same samples, and the number of samples consumed is all that a
// checkpoint keeps.
//
//   Loader loader({.sources = {{"corpora/kjv/train"}}, .sequence_length = 256, ...});
//   loader.seek({.samples = 1600});
//   const Batch batch = loader.next();
//
// One thread of its own prepares the next batches. A Loader is used from one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/batch_schedule.h"
#include "data/packer.h"

namespace tessera {

struct Source {
  std::string prefix{};  // of a token file
  double weight = 1;     // share of the samples, relative to the other sources
};

struct LoaderOptions {
  std::vector<Source> sources{};
  int64_t sequence_length = 0;
  BatchSchedule global_batch = 1;  // samples per step: multiples of micro_batch * num_shards
  int64_t micro_batch = 0;         // samples per microbatch
  uint64_t seed = 0;
  bool attend_across_documents = true;
  bool shuffle = true;     // false: stored order
  int64_t vocab_size = 0;  // the model's; a token beyond it is Error{data} naming file and position
  int shard_index = 0;
  int num_shards = 1;
};

// This shard's part of one step. Micro j of shard r holds the step's samples
// [(j * num_shards + r) * micro_batch, + micro_batch).
struct Batch {
  int64_t step = 0;     // counts from 0: how many the global samples consumed before make
  int64_t samples = 0;  // of all shards
  std::vector<MicroBatch> micros;
};

// How far a run has come, in samples of all shards: the same number in every layout.
struct Cursor {
  int64_t samples = 0;
};

class Loader {
 public:
  // Opens and checks every source. Throws Error{data} (files) or Error{usage} (options).
  explicit Loader(LoaderOptions options);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  // Waits for the next batch. An Error met while it was prepared is thrown here, now and at every
  // later call until seek().
  Batch next();
  Cursor cursor() const;     // after the batches that next() has returned
  void seek(Cursor cursor);  // the next batch begins at this sample

  int64_t samples_per_epoch() const;  // windows of all sources together
  double seconds_waited() const;      // time spent inside next() so far

  // Which stored window a sample is: for inspection and tests. Pure.
  struct Place {
    int source;
    int64_t first_token;
  };
  Place place(int64_t sample) const;
  const TokenFile& file(int source) const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tessera
