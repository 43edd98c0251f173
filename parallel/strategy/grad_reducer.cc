// SPDX-License-Identifier: Apache-2.0
#include "parallel/strategy/grad_reducer.h"

namespace tessera {
namespace {

// Gradients given up to start() that may wait for their reduction: enough to keep the network busy,
// little beside the model.
constexpr int64_t kMaxBytesInFlight = int64_t{64} << 20;

Tensor rows_of(const Tensor& whole, const Interval& part) {
  return whole.row_slice(part.first, part.extent);
}

}  // namespace

void GradReducer::start_in_place(Communicator& group, const Tensor& gradient, const Cut& cut,
                                 bool everywhere) {
  progress();
  const Tensor mine = rows_of(gradient, cut.part(group.rank()));
  auto pending = group.start_reduce_scatter(stream_, gradient, cut, mine, Reduce::sum, "gradients");
  started_.push_back({.group = &group,
                      .pending = std::move(pending),
                      .whole = gradient,
                      .cut = cut,
                      .everywhere = everywhere,
                      .mine = mine,
                      .take = nullptr});
}

void GradReducer::start(Communicator& group, Tensor gradient, const Cut& cut,
                        std::function<void(const Tensor& mine)> take) {
  progress();
  while (bytes_in_flight_ > 0 && bytes_in_flight_ + gradient.bytes() > kMaxBytesInFlight)
    finish_oldest();
  const int64_t bytes = gradient.bytes();
  const Tensor mine = rows_of(gradient, cut.part(group.rank()));
  auto pending = group.start_reduce_scatter(stream_, gradient, cut, mine, Reduce::sum, "gradients");
  started_.push_back({.group = &group,
                      .pending = std::move(pending),
                      .whole = std::move(gradient),
                      .cut = cut,
                      .mine = mine,
                      .take = std::move(take),
                      .bytes = bytes});
  bytes_in_flight_ += bytes;
}

// Lets messages move between layers.
void GradReducer::progress() {
  for (const Started& one : started_) one.pending->test();
}

void GradReducer::finish_oldest() {
  Started one = std::move(started_.front());
  started_.pop_front();
  one.pending->wait();
  bytes_in_flight_ -= one.bytes;
  if (one.take) one.take(one.mine);
  if (one.everywhere) gathers_.push_back(std::move(one));
}

void GradReducer::wait() {
  while (!started_.empty()) finish_oldest();
  // Gathers are started here and in one order: were they started as soon as a reduction is done,
  // ranks would start them in different orders.
  for (Started& one : gathers_)
    one.pending = one.group->start_all_gather(stream_, one.mine, one.cut, one.whole, "gradients");
  for (Started& one : gathers_) one.pending->wait();
  gathers_.clear();
}

}  // namespace tessera
