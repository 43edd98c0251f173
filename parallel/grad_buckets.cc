// SPDX-License-Identifier: Apache-2.0
#include "parallel/grad_buckets.h"

namespace tessera {

GradBuckets::GradBuckets(Stream& stream, Communicator& data, const Tensor& gradients,
                         const std::vector<FlatRange>& parameters, int64_t bucket_bytes)
    : stream_(stream), data_(data), gradients_(gradients.reshaped({gradients.size()})) {
  const int64_t limit = bucket_bytes / size_of(gradients.dtype());
  for (const FlatRange& parameter : parameters) {
    const bool full = !buckets_.empty() && buckets_.back().range.count >= limit;
    if (buckets_.empty() || full) buckets_.push_back({.range = {parameter.first, 0}});
    Bucket& bucket = buckets_.back();
    check(parameter.first >= bucket.range.first + bucket.range.count,
          "GradBuckets: parameters overlap or are out of order at element", parameter.first);
    bucket.range.count = parameter.first + parameter.count - bucket.range.first;
    ++bucket.parameters;
    bucket_of_.push_back(static_cast<int>(buckets_.size()) - 1);
  }
}

Tensor GradBuckets::slice(const FlatRange& range) const {
  return gradients_.column_slice(range.first, range.count);
}

void GradBuckets::begin_step() {
  check(started_.empty(), "GradBuckets: the last step was not waited for");
  for (Bucket& bucket : buckets_) bucket.ready = 0;
}

void GradBuckets::mark_ready(int parameter) {
  Bucket& bucket = buckets_.at(static_cast<size_t>(bucket_of_.at(static_cast<size_t>(parameter))));
  check(bucket.ready < bucket.parameters, "GradBuckets: parameter marked twice:", parameter);
  if (++bucket.ready == bucket.parameters) start(bucket);
  for (Bucket* other : started_) other->pending->test();  // lets messages move between layers
}

void GradBuckets::start(Bucket& bucket) {
  const Tensor whole = slice(bucket.range);
  const Cut cut = Cut::even(bucket.range.count, data_.size());
  const Interval mine = cut.part(data_.rank());
  bucket.pending = data_.start_reduce_scatter(
      stream_, whole, cut, whole.column_slice(mine.first, mine.extent), Reduce::sum, "gradients");
  started_.push_back(&bucket);
}

void GradBuckets::wait() {
  for (const Bucket& bucket : buckets_)
    check(bucket.ready == bucket.parameters, "GradBuckets: a gradient was never marked ready");
  // Gathers are started here and in one order: were they started as soon as a reduction is done,
  // ranks would start them in different orders.
  for (Bucket* bucket : started_) {
    bucket->pending->wait();
    const Tensor whole = slice(bucket->range);
    const Cut cut = Cut::even(bucket->range.count, data_.size());
    const Interval mine = cut.part(data_.rank());
    bucket->pending = data_.start_all_gather(stream_, whole.column_slice(mine.first, mine.extent),
                                             cut, whole, "gradients");
  }
  for (Bucket* bucket : started_) {
    bucket->pending->wait();
    bucket->pending.reset();
  }
  started_.clear();
}

}  // namespace tessera
