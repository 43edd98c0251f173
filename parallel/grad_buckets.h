// SPDX-License-Identifier: Apache-2.0
// When the gradients of which parameters are reduced over the data axis. Parameters lie in one flat
// buffer in the order of the forward pass; backward finishes them roughly in reverse. A bucket is a
// run of whole parameters; its reduction starts, while backward goes on, when the last of them is
// ready. All ranks mark parameters in the same order, so all start the same reductions.
// Knows nothing of norms, scaling or layers. Not thread-safe.
#pragma once

#include <memory>
#include <vector>

#include "parallel/communicator.h"

namespace tessera {

struct FlatRange {
  int64_t first = 0;  // elements into the flat buffer
  int64_t count = 0;
};

class GradBuckets {
 public:
  // gradients: (1, elements), contiguous. parameters: ascending, disjoint.
  GradBuckets(Stream& stream, Communicator& data, const Tensor& gradients,
              const std::vector<FlatRange>& parameters, int64_t bucket_bytes = kBucketBytes);

  void begin_step();               // nothing is ready
  void mark_ready(int parameter);  // its gradient is final on this rank; starts a full bucket
  void wait();  // REQUIRES all marked; every gradient is the sum over the data axis
  int num_buckets() const { return static_cast<int>(buckets_.size()); }

  // Large enough for the transport's bandwidth, small enough to start early.
  static constexpr int64_t kBucketBytes = int64_t{24} << 20;

 private:
  struct Bucket {
    FlatRange range;
    int parameters = 0;
    int ready = 0;
    std::unique_ptr<Pending> pending = nullptr;
  };
  void start(Bucket& bucket);
  Tensor slice(const FlatRange& range) const;

  Stream& stream_;
  Communicator& data_;
  Tensor gradients_;
  std::vector<Bucket> buckets_;
  std::vector<int> bucket_of_;    // parameter -> bucket
  std::vector<Bucket*> started_;  // in the order in which they were started
};

}  // namespace tessera
