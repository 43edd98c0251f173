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
#include "parallel/section.h"
#include "trainer/model/mtp.h"
#include "trainer/model_state.h"
#include "trainer/training_plan.h"

namespace tessera {
namespace {

using Clock = std::chrono::steady_clock;

// What goes to the host with a step's numbers (StepNumbers::Values::more).
enum More : size_t { kOverflows, kExpertCounts, kBalanceLosses };

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
  stage_ = build_stage(context, stage_options(recipe, recipe.data.sequence_length), placement);
  store_.allocate(device, recipe.compute_type(), zero_sharding(recipe, comms));
  store_.initialize(static_cast<uint64_t>(recipe.run.seed));
  store_.share_values(stream_, comms);
  if (recipe.run.cuda_graphs && MicroGraphs::possible(context, plans_))
    graphs_ = std::make_unique<MicroGraphs>(context, *stage_);
  gradients_ = std::make_unique<Gradients>(stream_, store_, comms);
  optimizer_ = std::make_unique<Optimizer>(recipe.optimizer, store_);
  std::vector<Tensor> more = {gradients_->overflows()};
  if (routing_) more.insert(more.end(), {routing_->counts(), routing_->loss_words()});
  numbers_ = std::make_unique<StepNumbers>(stream_, store_, comms, std::move(more));
  numbers_->set(0, scaler_.now());

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
    micros.back().loss_scale = numbers_->loss_scale();
    micros.back().dsequence = has_balance_losses() ? dloss : 0;
    micros.back().sequence_scale = numbers_->sequence_scale();
    micros.back().first_row = number * recipe_.batch.micro * recipe_.data.sequence_length;
    number += comms_.data().size();
    micros.back().mtp_loss_weight = mtp_weight;
  }
  return micros;
}

bool Trainer::has_balance_losses() const {
  const RouterOptions& router = recipe_.router;
  return routing_ && router.sequence_aux_loss + router.expert_aux_loss + router.device_aux_loss +
                             router.communication_aux_loss >
                         0;
}

// Every rank counted its own rows of its own layers.
void Trainer::balance_experts() {
  const Tensor& counts = routing_->counts();
  comms_.world().all_reduce(stream_, counts, counts, Reduce::sum, "expert loads");
  comms_.world().all_reduce(stream_, routing_->loss_words(), routing_->loss_words(), Reduce::sum,
                            "balance losses");
  const RouterOptions& router = recipe_.router;
  if (router.balance == Balance::aux_free && !router.bias_update.over(reached()))
    routing_->after_update(counts, router.bias_update_speed,
                           numbers_->controls().column_slice(kApply, 1));
}

// counts and loss words: of all ranks, in the host's memory.
void Trainer::report_experts(const Tensor& counts, const Tensor& loss_words, StepReport& report) {
  report.aux_loss = read_sum(loss_words).round() / static_cast<double>(report.sequences);
  report.expert_loads = routing_->loads(counts);
  if (recipe_.router.rebalance_every == 0) return;
  routing_->observe(counts);
  if (moves_experts_after(report.step) && routing_->rebalance() > 0)
    store_.publish(stream_, comms_);
}

bool Trainer::moves_experts_after(int64_t step) const {
  const int64_t every = recipe_.router.rebalance_every;
  return routing_ && every > 0 && step % every == 0;
}

PipelineStage& Trainer::passes() {
  if (graphs_) return *graphs_;
  return *stage_;
}

Batch Trainer::next_batch() {
  const trace::Range range("step", [] { return "data"; });
  const Activity activity("reading", "the data of the next batch");
  return loader_->next();
}

bool Trainer::reports_late() const {
  return !stream_.device().is_host();
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
  const double normalizer = nearest_power_of_two(rows);  // 2^k of docs/numerics.md
  int64_t targets = 0;
  for (const MicroBatch& micro : batch.micros) targets += micro.num_targets;

  gradients_->begin_step(scaler_.dynamic());
  std::vector<Micro> micros =
      microbatches(batch, 1 / normalizer, mtp_loss_weight(recipe_.mtp, now));
  if (has_balance_losses()) {
    const int64_t all = comms_.data().all_reduce(targets, Reduce::sum, "target tokens");
    numbers_->set_sequence_targets(static_cast<double>(all) / static_cast<double>(batch.samples));
  }
  if (routing_) routing_->begin_step(step_ + 1);
  stage_->begin_step(std::move(micros), *gradients_);
  Communicator& pipeline = comms_.along(Axis::pipeline);
  run(plans_.at(stage_->num_micro()), pipeline.rank(), passes(), stream_, pipeline);
  stage_->end_step();
  const auto comm_start = Clock::now();
  gradients_->finish();
  report.comm_seconds = seconds_since(comm_start);

  const bool speaks = comms_.along(Axis::tensor).rank() == 0 && pipeline.rank() == 0;
  numbers_->measure(
      *stage_,
      {speaks ? targets : 0, wishes.save, wishes.stop, routing_ ? routing_->extra_rounds() : 0},
      {.normalizer = normalizer,
       .grad_clip = recipe_.optimizer.grad_clip,
       .updates_known = updates_,
       .loss_scale = scaler_.rules()},
      choices(now));
  report.step = ++step_;
  report.sequences = batch.samples;
  report.samples = loader_->cursor().samples;
  if (routing_) balance_experts();
  started.place = numbers_->send();
  const trace::Range update_range(stream_, "compute", [] { return "optimizer and weights"; });
  optimizer_->step(stream_, numbers_->controls());
  store_.share_values(stream_, comms_);
  return started;
}

StepReport Trainer::finish_step(Started started) {
  StepReport report = std::move(started.report);
  const StepNumbers::Values numbers = numbers_->read(started.place);
  report.applied = numbers.applied();
  if (!report.applied) report.overflow = name_overflow(numbers);
  scaler_.hear(report.applied, numbers.loss_scale(), report.step, report.overflow);
  report.loss_scale = numbers[kLossScale];
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
  report.extra_rounds = numbers.count(kExtraRounds);
  if (routing_) report_experts(numbers.more[kExpertCounts], numbers.more[kBalanceLosses], report);
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
  if (!reports_late()) return finish_step(start_step(wishes));
  std::optional<StepReport> before;
  if (moves_experts_after(step_)) before = settle();  // the next step needs to know where they lie
  Started started = start_step(wishes);
  if (!before) before = settle();
  unsettled_ = std::move(started);
  return before;
}

StepReport Trainer::step(const StepWishes& wishes) {
  check(!unsettled_, "Trainer::step: nobody has the report of the step before");
  return finish_step(start_step(wishes));
}

// Called by all ranks. With loss scaling on, each rank looked at its own gradients before they were
// summed and knows its first bad tensor; otherwise the sum tells which tensor, but not where.
std::string Trainer::name_overflow(const StepNumbers::Values& numbers) {
  const int first =
      scaler_.dynamic() ? gradients_->first_overflow(numbers.more[kOverflows]) : numbers.first_bad;
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
