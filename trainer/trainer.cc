// SPDX-License-Identifier: Apache-2.0
#include "trainer/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "data/tokenizer.h"
#include "kernels/base/trace.h"
#include "kernels/copy.h"
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

struct Trainer::Measured {
  double loss_sum = 0;
  double mtp_loss_sum = 0;
  double grad_norm = 0;  // of the scaled gradients
  bool finite = true;
  int64_t targets = 0;
  StepWishes agreed;
};

// One small integer reduction carries everything the ranks must agree on. The device's sums come to
// the host once, which is where a GPU's step waits for the host.
Trainer::Measured Trainer::measure(int64_t targets, const StepWishes& wishes) {
  constexpr int64_t kSums = 3;  // loss, norm, loss of multi-token prediction
  const Tensor device_sums(stream_.device(), DType::i64, {kSums, ExactSum::kWords});
  const auto row = [&](int64_t i) { return device_sums.row_slice(i, 1); };
  fill(stream_, 0, device_sums);
  const bool speaks = comms_.along(Axis::tensor).rank() == 0;  // tensor ranks know the same
  if (speaks) copy(stream_, stage_->loss_words().flat(), row(0));
  for (const Piece& piece : store_.pieces())
    if (counts(store_, comms_, piece)) sum_of_squares(stream_, store_.grad(piece), row(1));
  if (speaks) copy(stream_, stage_->mtp_loss_words().flat(), row(2));
  if (!speaks || comms_.along(Axis::pipeline).rank() > 0) targets = 0;

  std::vector<ExactSum> sums;
  const Tensor host_sums = on_host(stream_, device_sums);
  const Tensor agreed(Device{}, DType::i64, {kStepStatistics}, MemoryClass::communication);
  Stream host(Device{});
  auto* words = agreed.as<int64_t>();
  for (int64_t i = 0; i < kSums; ++i) {
    sums.push_back(read_sum(host, host_sums.row_slice(i, 1)));
    words = std::copy(sums.back().words().begin(), sums.back().words().end(), words);
  }
  words[0] = targets;
  words[1] = wishes.save;
  words[2] = wishes.stop;
  comms_.world().all_reduce(host, agreed, agreed, Reduce::sum, "step statistics");

  const auto* from = agreed.as<int64_t>();
  for (ExactSum& sum : sums) {
    std::copy_n(from, ExactSum::kWords, sum.words().begin());
    from += ExactSum::kWords;
  }
  Measured measured;
  measured.loss_sum = sums[0].round();
  measured.grad_norm = std::sqrt(sums[1].round());
  measured.mtp_loss_sum = sums[2].round();
  measured.finite = sums[0].finite() && sums[1].finite();
  measured.targets = from[0];
  measured.agreed = {from[1] > 0, from[2] > 0};
  return measured;
}

StepReport Trainer::step(const StepWishes& wishes) {
  const auto start = Clock::now();
  const trace::Range step_range("step", [&] { return "step " + std::to_string(step_ + 1); });
  const Reached now = reached();
  const Batch batch = next_batch();
  const double data_seconds = seconds_since(start);

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
  const double wait_seconds = seconds_since(comm_start);
  const Measured measured = measure(targets, wishes);

  StepReport report;
  const double unscale =
      normalizer / (scale * static_cast<double>(std::max<int64_t>(1, measured.targets)));
  report.grad_norm = measured.grad_norm * unscale;
  report.loss_scale = scale;
  report.grad_unscale = unscale;
  report.learning_rate = learning_rate_.at(now);
  if (!measured.finite) report.overflow = name_overflow();
  report.applied = scaler_.update(measured.finite, step_ + 1, report.overflow);
  const double limit = recipe_.optimizer.grad_clip;
  // torch.nn.utils.clip_grad_norm_: max_norm / (norm + 1e-6), only when below 1.
  const double clip = limit > 0 ? std::min(1.0, limit / (report.grad_norm + 1e-6)) : 1.0;
  const trace::Range update_range("compute", [] { return "optimizer and weights"; });
  optimizer_->step(stream_, {.apply = report.applied,
                             .grad_scale = report.applied ? unscale * clip : 0,
                             .learning_rate = report.learning_rate,
                             .update = updates_ + 1});
  if (report.applied) store_.share_values(stream_, comms_);
  ++step_;
  updates_ += report.applied ? 1 : 0;
  tokens_ += measured.targets;

  report.step = step_;
  report.updates = updates_;
  const auto all_targets = static_cast<double>(std::max<int64_t>(1, measured.targets));
  const int64_t depth = std::max<int64_t>(1, recipe_.model.num_nextn_predict_layers);
  report.loss = measured.loss_sum / all_targets;
  report.mtp_loss = measured.mtp_loss_sum / (all_targets * static_cast<double>(depth));
  report.sequences = batch.samples;
  report.samples = loader_->cursor().samples;
  report.target_tokens = measured.targets;
  report.tokens = tokens_;
  report.agreed = measured.agreed;
  report.data_seconds = data_seconds;
  report.comm_seconds = wait_seconds;
  balance_experts(report);
  report.seconds = seconds_since(start);
  return report;
}

// Called by all ranks. With loss scaling on, each rank looked at its own gradients before they were
// summed and knows its first bad tensor; otherwise the sum tells which tensor, but not where.
std::string Trainer::name_overflow() {
  int first = gradients_->first_overflow();
  if (!scaler_.dynamic()) {
    const Tensor count(stream_.device(), DType::i64, {1});
    const auto& pieces = store_.pieces();
    for (size_t piece = pieces.size(); piece-- > 0 && first < 0;) {
      fill(stream_, 0, count);
      count_non_finite(stream_, store_.grad(pieces[piece]), count);
      if (download<int64_t>(stream_, count).front() > 0) first = pieces[piece].parameter;
    }
  }
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
