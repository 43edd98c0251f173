// SPDX-License-Identifier: Apache-2.0
#include "trainer/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include "data/tokenizer.h"
#include "kernels/base/trace.h"
#include "kernels/reduce.h"
#include "kernels/transfer.h"
#include "trainer/model/model_state.h"
#include "trainer/training_plan.h"

namespace tessera {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// The power of two nearest `rows` (in the logarithm): scaling by it is exact in every type.
double nearest_power_of_two(int64_t rows) {
  return std::exp2(std::round(std::log2(static_cast<double>(rows))));
}

}  // namespace

double StepReport::expert_load() const {
  double sum = 0;
  for (const ExpertLoad& layer : expert_loads) sum += layer.max;
  return expert_loads.empty() ? 0 : sum / static_cast<double>(expert_loads.size());
}

double EvalReport::perplexity() const {
  return std::exp(loss);
}

Micro to_micro(Stream& stream, const MicroBatch& batch, int64_t sequence_length) {
  Micro micro;
  micro.num_sequences = batch.num_sequences;
  micro.sequence_length = sequence_length;
  micro.tokens = uploaded(stream, batch.tokens);
  micro.targets = uploaded(stream, batch.targets);
  micro.positions = uploaded(stream, batch.positions);
  micro.document_starts = uploaded(stream, batch.document_starts);
  return micro;
}

Trainer::Trainer(const Recipe& recipe, Device device, const Communicators& comms)
    : recipe_(recipe),
      timeline_(recipe),
      learning_rate_(recipe.lr_schedule, recipe.optimizer.lr, recipe.run.length(), timeline_),
      comms_(comms),
      stream_(device),
      scaler_(recipe.precision, recipe.on_failure) {
  const BatchOptions& batch = recipe.batch;
  const int shards = comms.grid().size(Axis::data);
  plans_ = training_plans(recipe, shards);
  if (recipe.model.has_experts())
    routing_ = std::make_unique<Routing>(stream_, recipe.model,
                                         batch.global * recipe.data.sequence_length);
  LayerContext context{stream_, store_, comms_, recipe.compute_type()};
  context.routing = routing_.get();
  const StagePlacement placement =
      placement_of(recipe, plans_.begin()->second, comms.along(Axis::pipeline).rank());
  stage_ = build_stage(context, recipe, placement, recipe.data.sequence_length);
  store_.allocate(device, recipe.compute_type(), zero_sharding(recipe, comms));
  store_.initialize(static_cast<uint64_t>(recipe.run.seed));
  store_.share_values(stream_, comms);
  gradients_ = std::make_unique<Gradients>(stream_, store_, comms);
  optimizer_ = std::make_unique<Optimizer>(recipe.optimizer, store_);
  numbers_ = std::make_unique<StepNumbers>(stream_, store_, comms);

  LoaderOptions options;
  for (const BlendSource& source : recipe.data.blend)
    options.sources.push_back({source.path, source.weight});
  if (options.sources.empty()) options.sources.push_back({recipe.data.train, 1.0});
  options.sequence_length = recipe.data.sequence_length;
  options.global_batch = timeline_.batches();
  options.micro_batch = batch.micro;
  options.seed = static_cast<uint64_t>(recipe.data.seed);
  options.attend_across_documents = recipe.data.attend_across_documents;
  options.shuffle = recipe.data.shuffle;
  options.vocab_size = recipe.model.vocab_size;
  options.shard_index = comms.data().rank();
  options.num_shards = shards;
  loader_ = std::make_unique<Loader>(options);
  if (!recipe.data.tokenizer.empty()) {
    const Tokenizer tokenizer = Tokenizer::load(recipe.data.tokenizer);
    for (int64_t token = 0; token < tokenizer.vocab_size(); ++token)
      token_bytes_.push_back(
          static_cast<int64_t>(tokenizer.token_bytes(static_cast<int32_t>(token)).size()));
  }
}

Reached Trainer::reached() const {
  const int64_t samples = loader_->cursor().samples;
  return {.steps = step_,
          .updates = updates_,
          .tokens = timeline_.tokens(samples),
          .step_tokens = timeline_.tokens(timeline_.batches().at(samples))};
}

int64_t Trainer::total_steps() const {
  return timeline_.total_steps(recipe_.run.length(), step_, loader_->cursor().samples);
}

int64_t Trainer::total_samples() const {
  return timeline_.total_samples(recipe_.run.length(), step_, loader_->cursor().samples);
}

std::vector<Micro> Trainer::microbatches(const Batch& batch, double dloss, double mtp_weight) {
  std::vector<Micro> micros;
  // Microbatch j of data rank r is number j x ranks + r of the step (docs/numerics.md).
  int64_t number = comms_.data().rank();
  for (const MicroBatch& part : batch.micros) {
    micros.push_back(to_micro(stream_, part, recipe_.data.sequence_length));
    micros.back().dloss = dloss;
    micros.back().first_row = number * recipe_.batch.micro * recipe_.data.sequence_length;
    number += comms_.data().size();
    micros.back().mtp_loss_weight = mtp_weight;
  }
  return micros;
}

// Of the step's loss with respect to the balance losses of one sequence; 0 where there are none.
double Trainer::sequence_gradient(int64_t targets, int64_t sequences, double dloss) {
  const RouterOptions& router = recipe_.router;
  const double factors = router.sequence_aux_loss + router.expert_aux_loss +
                         router.device_aux_loss + router.communication_aux_loss;
  if (!routing_ || factors == 0) return 0;
  const int64_t all = comms_.data().all_reduce(targets, Reduce::sum, "target tokens");
  return dloss * static_cast<double>(all) / static_cast<double>(sequences);
}

// After an update: every rank counted its own rows of its own layers.
void Trainer::balance_experts(StepReport& report) {
  if (!routing_) return;
  const Tensor& counts = routing_->counts();
  comms_.world().all_reduce(stream_, counts, counts, Reduce::sum, "expert loads");
  comms_.world().all_reduce(stream_, routing_->loss_words(), routing_->loss_words(), Reduce::sum,
                            "balance losses");
  report.aux_loss =
      read_sum(stream_, routing_->loss_words()).round() / static_cast<double>(report.sequences);
  report.expert_loads = routing_->loads();
  report.extra_rounds =
      comms_.world().all_reduce(routing_->extra_rounds(), Reduce::sum, "extra rounds");
  const RouterOptions& router = recipe_.router;
  if (report.applied && router.balance == "aux_free" && !router.bias_update.over(reached()))
    routing_->after_update(counts, router.bias_update_speed);
  if (router.rebalance_every == 0) return;
  routing_->observe(counts);
  if (report.step % router.rebalance_every == 0 && routing_->rebalance() > 0)
    store_.publish(stream_, comms_);
}

Batch Trainer::next_batch() {
  const trace::Range range("step", [] { return "data"; });
  return loader_->next();
}

// What the host decides from the numbers of a step before it can queue the next one: the loss
// scale, the experts' biases and places, the weight of multi-token prediction.
bool Trainer::reports_late() const {
  return !stream_.device().is_host() && !scaler_.dynamic() && !routing_ &&
         recipe_.model.num_nextn_predict_layers == 0;
}

// A step whose numbers are not known yet may be applied or not.
std::vector<double> Trainer::choices(Reached now) const {
  std::vector<double> table;
  for (int unknown = 0; unknown <= (unsettled_ ? 1 : 0); ++unknown, ++now.updates) {
    const auto row = optimizer_->choice(learning_rate_.at(now), now.updates + 1);
    table.insert(table.end(), row.begin(), row.end());
  }
  return table;
}

Trainer::Started Trainer::start_step(const StepWishes& wishes) {
  Started started;
  StepReport& report = started.report;
  started.start = Clock::now();
  const trace::Range step_range(stream_, "step",
                                [&] { return "step " + std::to_string(step_ + 1); });
  const Reached now = reached();
  const Batch batch = next_batch();
  report.data_seconds = seconds_since(started.start);

  const int64_t rows = recipe_.batch.micro * recipe_.data.sequence_length;
  const double normalizer = nearest_power_of_two(rows);  // dloss = scale / 2^k: docs/numerics.md
  const double scale = scaler_.scale();
  int64_t targets = 0;
  for (const MicroBatch& micro : batch.micros) targets += micro.num_targets;

  gradients_->begin_step(scaler_.dynamic());
  std::vector<Micro> micros =
      microbatches(batch, scale / normalizer, mtp_loss_weight(recipe_.mtp, now));
  const double dsequence = sequence_gradient(targets, batch.samples, scale / normalizer);
  for (Micro& micro : micros) micro.dsequence = dsequence;
  if (routing_) routing_->begin_step(step_ + 1);
  stage_->begin_step(std::move(micros), *gradients_);
  Communicator& pipeline = comms_.along(Axis::pipeline);
  run(plans_.at(stage_->num_micro()), pipeline.rank(), *stage_, stream_, pipeline);
  stage_->end_step();
  const auto comm_start = Clock::now();
  gradients_->finish();
  report.comm_seconds = seconds_since(comm_start);

  const bool speaks = comms_.along(Axis::tensor).rank() == 0 && pipeline.rank() == 0;
  numbers_->measure(*stage_, {speaks ? targets : 0, wishes.save, wishes.stop},
                    {.normalizer = normalizer,
                     .scale = scale,
                     .grad_clip = recipe_.optimizer.grad_clip,
                     .updates_known = updates_},
                    choices(now));
  started.place = numbers_->send();
  const trace::Range update_range(stream_, "compute", [] { return "optimizer and weights"; });
  optimizer_->step(stream_, numbers_->controls());
  store_.share_values(stream_, comms_);
  report.step = ++step_;
  report.loss_scale = scale;
  report.sequences = batch.samples;
  report.samples = loader_->cursor().samples;
  return started;
}

StepReport Trainer::finish_step(Started started) {
  StepReport report = std::move(started.report);
  const StepNumbers::Values numbers = numbers_->read(started.place);
  if (!numbers.finite()) report.overflow = name_overflow(numbers.first_bad);
  report.applied = scaler_.update(numbers.finite(), report.step, report.overflow);
  report.target_tokens = numbers.count(kTargets);
  report.agreed = {numbers.count(kSaveWishes) > 0, numbers.count(kStopWishes) > 0};
  report.grad_norm = numbers[kGradNorm];
  report.grad_unscale = numbers[kGradUnscale];
  report.learning_rate = numbers[kLearningRate];
  const auto targets = static_cast<double>(std::max<int64_t>(1, report.target_tokens));
  const int64_t depth = std::max<int64_t>(1, recipe_.model.num_nextn_predict_layers);
  report.loss = numbers[kLoss] / targets;
  report.mtp_loss = numbers[kMtpLoss] / (targets * static_cast<double>(depth));
  updates_ += report.applied ? 1 : 0;
  tokens_ += report.target_tokens;
  report.updates = updates_;
  report.tokens = tokens_;
  balance_experts(report);
  // From its own start, or from the end of the step before where that was later.
  report.seconds = seconds_since(std::max(started.start, last_settled_));
  last_settled_ = Clock::now();
  return report;
}

std::optional<StepReport> Trainer::settle() {
  if (!unsettled_) return std::nullopt;
  return finish_step(*std::exchange(unsettled_, std::nullopt));
}

std::optional<StepReport> Trainer::advance(const StepWishes& wishes) {
  Started started = start_step(wishes);
  std::optional<StepReport> before = settle();
  if (!reports_late()) return finish_step(std::move(started));
  unsettled_ = std::move(started);
  return before;
}

StepReport Trainer::step(const StepWishes& wishes) {
  check(!unsettled_, "Trainer::step: nobody has the report of the step before");
  return finish_step(start_step(wishes));
}

// Called by all ranks. With loss scaling on, each rank looked at its own gradients before they were
// summed and knows its first bad tensor; otherwise the sum tells which tensor, but not where.
std::string Trainer::name_overflow(int first_bad) {
  const int first = scaler_.dynamic() ? gradients_->first_overflow() : first_bad;
  const std::vector<std::string> names = comms_.world().all_gather(
      first < 0 ? std::string() : store_.at(first).name + " grad", "overflow");
  if (!scaler_.dynamic()) {
    for (const std::string& name : names)
      if (!name.empty()) return name;
    return "loss";
  }
  std::string text, last;
  for (size_t rank = 0; rank < names.size(); ++rank) {
    if (names[rank].empty()) continue;
    text += (text.empty() ? "" : ", ") + (names[rank] == last
                                              ? std::to_string(rank)
                                              : names[rank] + " on rank " + std::to_string(rank));
    last = names[rank];
  }
  return text.empty() ? "the sum over ranks" : text;
}

}  // namespace tessera
