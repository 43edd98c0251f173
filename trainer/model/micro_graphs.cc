// SPDX-License-Identifier: Apache-2.0
#include "trainer/model/micro_graphs.h"

#include <algorithm>
#include <array>
#include <utility>

#include "kernels/base/trace.h"
#include "kernels/copy.h"
#include "kernels/gemm.h"
#include "trainer/model/routing.h"

namespace tessera {
namespace {

bool one_after_another(const Plan& plan) {
  if (plan.num_ranks() != 1 || plan.num_chunks(0) != 1) return false;
  Schedule schedule;
  for (int micro = 0; micro < plan.num_micro; ++micro)
    for (const Op op : {Op::forward, Op::backward_input, Op::backward_weight})
      schedule.push_back({op, 0, micro});
  return plan.ranks.front() == schedule;
}

bool alone(const LayerContext& context, Axis axis) {
  return context.comms.along(axis).is_local();
}

// Experts that are all here need the host for nothing (expert_parallel.h), but f32 products of them
// do (kernels/gemm.h).
bool experts_need_no_host(const LayerContext& context) {
  return context.dtype != DType::f32 && !experts_one_by_one() && alone(context, Axis::expert) &&
         alone(context, Axis::expert_tensor);
}

// What differs from one microbatch of a step to the next.
constexpr std::array kInputs = {&Micro::tokens, &Micro::targets, &Micro::positions,
                                &Micro::document_starts};

}  // namespace

bool MicroGraphs::possible(const LayerContext& context, const std::map<int, Plan>& plans) {
  return Graph::possible(context.stream.device()) && alone(context, Axis::tensor) &&
         (context.routing == nullptr || experts_need_no_host(context)) &&
         !context.store.zero().sums_each_micro() && plans.rbegin()->first > 1 &&
         std::all_of(plans.begin(), plans.end(),
                     [](const auto& plan) { return one_after_another(plan.second); });
}

MicroGraphs::MicroGraphs(LayerContext context, Stage& stage)
    : context_(context), stage_(stage), memory_(context.stream.device()) {}

// Null: to be queued kernel by kernel.
MicroGraphs::Recorded* MicroGraphs::repeated(int micro) {
  if (!stage_.training() || stage_.is_last(micro) || trace::recording()) return nullptr;
  if (context_.routing != nullptr && context_.routing->watches()) return nullptr;
  const Micro& now = stage_.micro(micro);
  const Key key{now.num_sequences, now.sequence_length, !now.document_starts.empty(), now.dloss,
                now.dsequence,     now.mtp_loss_weight, context_.store.held()};
  const auto known = std::find_if(recorded_.begin(), recorded_.end(),
                                  [&](const Recorded& one) { return one.key == key; });
  if (known != recorded_.end()) {
    recorded_.splice(recorded_.begin(), recorded_, known);
    return &recorded_.front();
  }
  recorded_.push_front({.key = key});
  if (recorded_.size() > kMost) recorded_.pop_back();
  return nullptr;
}

// The plan has the backward pass next: what is left out here is done there.
Tensor MicroGraphs::forward(int chunk, int micro, const Tensor& x) {
  next_ = repeated(micro);
  if (next_ != nullptr) return {};
  const KeptMemory::Use use(memory_);
  return stage_.forward(chunk, micro, x);
}

Tensor MicroGraphs::backward(int chunk, int micro, const Tensor& dy) {
  Recorded* const one = std::exchange(next_, nullptr);
  if (one == nullptr) {
    const KeptMemory::Use use(memory_);
    return stage_.backward(chunk, micro, dy);
  }
  if (!one->graph) record(*one, micro);
  for (const auto input : kInputs)
    if (!(one->micro.*input).empty())
      copy(context_.stream, stage_.micro(micro).*input, one->micro.*input);
  check_memory_is_free();
  one->graph->launch(context_.stream);
  context_.store.set_held(one->held_after);
  return {};
}

void MicroGraphs::record(Recorded& one, int micro) {
  check_memory_is_free();
  const Micro now = stage_.micro(micro);
  one.micro = now;
  for (const auto input : kInputs)
    if (!(now.*input).empty())
      one.micro.*input = Tensor(context_.stream.device(), DType::i32, {now.rows()});
  stage_.set_micro(micro, one.micro);
  const KeptMemory::Use use(memory_);
  one.graph.emplace(context_.stream, [&] {
    stage_.forward(0, micro, {});
    stage_.backward(0, micro, {});
  });
  stage_.set_micro(micro, now);
  one.held_after = context_.store.held();
}

// Whoever still had some of it would find what a recording writes there.
void MicroGraphs::check_memory_is_free() const {
  check(memory_.in_use() == 0,
        "MicroGraphs: memory that recorded passes write to is in use, blocks", memory_.in_use());
}

Tensor MicroGraphs::backward_input(int chunk, int micro, const Tensor& dy) {
  const KeptMemory::Use use(memory_);
  return stage_.backward_input(chunk, micro, dy);
}

void MicroGraphs::backward_weight(int chunk, int micro) {
  const KeptMemory::Use use(memory_);
  stage_.backward_weight(chunk, micro);
}

}  // namespace tessera
