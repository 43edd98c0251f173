// SPDX-License-Identifier: Apache-2.0
#include "trainer/model/gradients.h"

#include <algorithm>

#include "kernels/copy.h"
#include "kernels/elementwise.h"
#include "kernels/reduce.h"
#include "kernels/transfer.h"

namespace tessera {

Gradients::Gradients(Stream& stream, ParameterStore& store, const Communicators& comms)
    : stream_(stream),
      store_(store),
      comms_(comms),
      reducer_(stream),
      num_uses_(static_cast<size_t>(store.num_units()), 0),
      overflows_(stream.device(), DType::i64, {static_cast<int64_t>(store.slots().size())},
                 MemoryClass::other) {
  fill(stream, 0, overflows_);
  for (size_t slot = 0; slot < store.slots().size(); ++slot) {
    ++num_uses_[static_cast<size_t>(store.slots()[slot].unit)];
    sums_.emplace_back(store.my_grad(static_cast<int>(slot)), store.zero().layout_free);
  }
}

void Gradients::begin_step(bool watch_overflow) {
  store_.clear_grads();
  uses_to_come_ = num_uses_;
  watch_overflow_ = watch_overflow;
  if (watch_overflow) fill(stream_, 0, overflows_);
}

void Gradients::added(const std::vector<Stack>& weights, bool last) {
  for (const Stack& weight : weights) {
    const int slot = store_.slot(weight);
    const int unit = store_.slots()[static_cast<size_t>(slot)].unit;
    if (store_.zero().sums_each_micro()) {
      const Tensor whole = store_.take_grad(slot);
      look_at(slot, whole);
      MicroSum& sum = sums_[static_cast<size_t>(slot)];
      reducer_.start(data_of(unit), whole, store_.cut(unit),
                     [this, &sum](const Tensor& mine) { sum.add(stream_, mine); });
    } else if (last) {
      store_.complete_grad(slot);
      look_at(slot, store_.whole_grad(slot));
      if (--uses_to_come_[static_cast<size_t>(unit)] == 0) uses_done(unit);
    }
  }
}

void Gradients::look_at(int slot, const Tensor& gradient) {
  if (!watch_overflow_) return;
  count_non_finite(stream_, gradient, overflows_.column_slice(slot, 1));
  if (std::find(looked_at_.begin(), looked_at_.end(), slot) == looked_at_.end())
    looked_at_.push_back(slot);
}

int Gradients::first_overflow(const Tensor& overflows) const {
  const auto* counts = overflows.as<int64_t>();
  for (const int slot : looked_at_)
    if (counts[slot] > 0)
      return store_.first_parameter(store_.slots()[static_cast<size_t>(slot)].unit).index;
  return -1;
}

// Stages 0 and 1: all uses on this rank are final.
void Gradients::uses_done(int unit) {
  fold_uses(unit);
  if (!store_.first_parameter(unit).on_both_ends) start_whole(unit);
}

void Gradients::start_whole(int unit) {
  for (size_t slot = 0; slot < store_.slots().size(); ++slot)
    if (store_.slots()[slot].unit == unit && store_.slots()[slot].use == 0)
      reducer_.start_in_place(data_of(unit), store_.whole_grad(static_cast<int>(slot)),
                              store_.cut(unit), store_.zero().stage == 0);
}

Tensor Gradients::final_grad(int slot) const {
  return store_.zero().sums_each_micro() ? store_.my_grad(slot) : store_.whole_grad(slot);
}

// first + ((second + third) + ...): the order that two ends of a pipeline have, where the first use
// is the first stage's and the copy on the last stage adds up the others.
void Gradients::fold_uses(int unit) {
  std::vector<Tensor> uses;
  for (size_t slot = 0; slot < store_.slots().size(); ++slot)
    if (store_.slots()[slot].unit == unit) uses.push_back(final_grad(static_cast<int>(slot)));
  if (uses.size() < 2) return;
  const size_t base = store_.first_parameter(unit).primary ? 1 : 0;
  for (size_t use = base + 1; use < uses.size(); ++use)
    add(stream_, uses[base], uses[use], uses[base]);
  if (base == 1) add(stream_, uses[0], uses[1], uses[0]);
}

// The first stage's use plus those of the last, in this order, on both.
void Gradients::sum_both_ends(int unit) {
  for (size_t slot = 0; slot < store_.slots().size(); ++slot) {
    if (store_.slots()[slot].unit != unit || store_.slots()[slot].use != 0) continue;
    const Tensor sum = final_grad(static_cast<int>(slot));
    comms_.tied_stages().all_reduce(stream_, sum, sum, Reduce::sum, "tied gradients");
  }
}

void Gradients::finish() {
  const bool reduced_first = store_.zero().sums_each_micro();
  if (reduced_first) {
    reducer_.wait();
    for (MicroSum& sum : sums_) sum.finish(stream_);
  }
  for (int unit = 0; unit < store_.num_units(); ++unit) {
    if (reduced_first) fold_uses(unit);
    if (!store_.first_parameter(unit).on_both_ends) continue;
    sum_both_ends(unit);
    if (!reduced_first) start_whole(unit);
  }
  if (!reduced_first)
    reducer_.wait();
  else if (store_.zero().stage == 0)
    gather_everywhere();
  sum_replicas(Replication::tensor, comms_.along(Axis::tensor));
  sum_replicas(Replication::tensor_replicas, comms_.tensor_replicas());
}

// Stage 0, where each microbatch was summed: every rank updates all rows.
void Gradients::gather_everywhere() {
  std::vector<std::unique_ptr<Pending>> started;
  for (size_t i = 0; i < store_.slots().size(); ++i) {
    if (store_.slots()[i].use > 0) continue;
    const int slot = static_cast<int>(i), unit = store_.slots()[i].unit;
    started.push_back(data_of(unit).start_all_gather(
        stream_, store_.my_grad(slot), store_.cut(unit), store_.whole_grad(slot), "gradients"));
  }
  for (const auto& pending : started) pending->wait();
}

// Small tensors mostly: one message for all of them.
void Gradients::sum_replicas(Replication which, Communicator& group) {
  if (group.size() == 1) return;
  int64_t elements = 0;
  for (const Piece& piece : store_.pieces())
    if (store_.at(piece.parameter).replication == which) elements += piece.whole.count;
  if (elements == 0) return;
  const DType dtype = accumulation_type(store_.compute_type());
  const Tensor packed(stream_.device(), dtype, {1, elements}, MemoryClass::communication);
  const auto each_piece = [&](auto&& visit) {
    int64_t first = 0;
    for (const Piece& piece : store_.pieces()) {
      if (store_.at(piece.parameter).replication != which) continue;
      visit(store_.grad(piece).flat(), packed.column_slice(first, piece.whole.count));
      first += piece.whole.count;
    }
  };
  each_piece([&](const Tensor& grad, const Tensor& slot) { copy(stream_, grad, slot); });
  group.all_reduce(stream_, packed, packed, Reduce::sum, "replicated gradients");
  each_piece([&](const Tensor& grad, const Tensor& slot) { copy(stream_, slot, grad); });
}

}  // namespace tessera
