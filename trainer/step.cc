// SPDX-License-Identifier: Apache-2.0
#include "trainer/step.h"

#include <cmath>
#include <utility>

#include "kernels/base/trace.h"
#include "trainer/rank_layout.h"

namespace tessera {
namespace {

// The power of two nearest `rows` (in the logarithm): scaling by it is exact in every type.
double nearest_power_of_two(int64_t rows) {
  return std::exp2(std::round(std::log2(static_cast<double>(rows))));
}

}  // namespace

Step::Step(const Recipe& recipe, Device device, const Communicators& comms,
           std::map<int, Plan> plans)
    : recipe_(recipe),
      comms_(comms),
      plans_(std::move(plans)),
      normalizer_(nearest_power_of_two(recipe.batch.micro * recipe.data.sequence_length)),
      stream_(device) {
  if (recipe.model.has_experts())
    routing_ = std::make_unique<Routing>(stream_, recipe.model,
                                         recipe.batch.global * recipe.data.sequence_length);
  LayerContext context{stream_, store_, comms_, recipe.compute_type()};
  context.routing = routing_.get();
  stage_ = lay_out_rank(context, recipe, plans_.begin()->second, recipe.data.sequence_length);
  store_.allocate(device);
  if (recipe.run.cuda_graphs && MicroGraphs::possible(context, plans_))
    graphs_ = std::make_unique<MicroGraphs>(context, *stage_);
  gradients_ = std::make_unique<Gradients>(stream_, store_, comms);
  optimizer_ = make_optimizer(optimizer_kind(recipe.optimizer.name), recipe.optimizer, store_);
  std::vector<Tensor> more = {gradients_->overflows()};
  if (routing_) more.insert(more.end(), {routing_->counts(), routing_->loss_words()});
  numbers_ = std::make_unique<StepNumbers>(stream_, store_, comms, std::move(more));
}

void Step::initialize(const LossScaleState& scale) {
  store_.initialize(static_cast<uint64_t>(recipe_.run.seed));
  store_.share_values(stream_, comms_);
  numbers_->set(0, scale);
}

PipelineStage& Step::passes() {
  if (graphs_) return *graphs_;
  return *stage_;
}

int Step::step(StepInputs inputs) {
  StepProbe nothing;
  return step(std::move(inputs), nothing);
}

// Gradients are summed over ranks before they are measured, because the norm that clips them is
// that of their sum. The numbers leave for the host before the update is queued, so that they are
// there while it still runs. Biases of experts follow measure(), which says whether the step is
// applied at all.
int Step::step(StepInputs inputs, StepProbe& probe) {
  int place = 0;
  probe.around(StepEvent::zero_gradients,
               [&] { gradients_->begin_step(inputs.loss_scale.dynamic); });
  probe.around(StepEvent::give_microbatches, [&] { give(inputs); });
  probe.around(StepEvent::passes, [&] { run_passes(probe); });
  probe.around(StepEvent::sum_gradients, [&] { gradients_->finish(); });
  probe.around(StepEvent::measure, [&] { measure(inputs); });
  probe.around(StepEvent::balance_experts, [&] { balance_experts(inputs.moves_router_biases); });
  probe.around(StepEvent::send_numbers, [&] { place = numbers_->send(); });
  const trace::Range range(stream_, "compute", [] { return "optimizer and weights"; });
  probe.around(StepEvent::update_weights, [&] { optimizer_->step(stream_, numbers_->controls()); });
  probe.around(StepEvent::share_weights, [&] { store_.share_values(stream_, comms_); });
  return place;
}

bool Step::has_balance_losses() const {
  const RouterOptions& router = recipe_.router;
  return routing_ && router.sequence_aux_loss + router.expert_aux_loss + router.device_aux_loss +
                             router.communication_aux_loss >
                         0;
}

void Step::give(StepInputs& inputs) {
  // Microbatch j of data rank r is number j x ranks + r of the step (docs/numerics.md).
  int64_t number = comms_.data().rank();
  for (Micro& micro : inputs.micros) {
    micro.dloss = token_gradient();
    micro.loss_scale = numbers_->loss_scale();
    micro.dsequence = has_balance_losses() ? token_gradient() : 0;
    micro.sequence_scale = numbers_->sequence_scale();
    micro.first_row = number * recipe_.batch.micro * recipe_.data.sequence_length;
    micro.mtp_loss_weight = inputs.mtp_loss_weight;
    number += comms_.data().size();
  }
  if (has_balance_losses()) {
    const int64_t all = comms_.data().all_reduce(inputs.targets, Reduce::sum, "target tokens");
    numbers_->set_sequence_targets(static_cast<double>(all) /
                                   static_cast<double>(inputs.sequences));
  }
  if (routing_) routing_->begin_step(inputs.number);
  stage_->begin_step(std::move(inputs.micros), *gradients_);
}

void Step::run_passes(StepProbe& probe) {
  Communicator& pipeline = comms_.along(Axis::pipeline);
  run(plans_.at(stage_->num_micro()), pipeline.rank(), probe.passes(passes()), stream_, pipeline);
  stage_->end_step();
}

// Ranks that see the same tokens know the same counts, so one of them speaks.
void Step::measure(const StepInputs& inputs) {
  const bool speaks =
      comms_.along(Axis::tensor).rank() == 0 && comms_.along(Axis::pipeline).rank() == 0;
  numbers_->measure(*stage_,
                    {speaks ? inputs.targets : 0, inputs.wishes.save, inputs.wishes.stop,
                     routing_ ? routing_->extra_rounds() : 0},
                    {.normalizer = normalizer_,
                     .grad_clip = recipe_.optimizer.grad_clip,
                     .updates_known = inputs.updates_known,
                     .loss_scale = inputs.loss_scale},
                    inputs.choices);
}

// Every rank counted its own rows of its own layers.
void Step::balance_experts(bool moves_biases) {
  if (!routing_) return;
  const Tensor& counts = routing_->counts();
  comms_.world().all_reduce(stream_, counts, counts, Reduce::sum, "expert loads");
  comms_.world().all_reduce(stream_, routing_->loss_words(), routing_->loss_words(), Reduce::sum,
                            "balance losses");
  if (moves_biases)
    routing_->after_update(counts, recipe_.router.bias_update_speed,
                           numbers_->controls().column_slice(kApply, 1));
}

}  // namespace tessera
