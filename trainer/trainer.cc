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
#include "trainer/training_plan.h"

namespace tessera {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Measures how long this rank waits for the gradients of others.
class CommTimer : public StepProbe {
 public:
  void around(StepEvent event, const std::function<void()>& work) override {
    const auto start = Clock::now();
    work();
    if (event == StepEvent::sum_gradients) seconds = seconds_since(start);
  }
  double seconds = 0;
};

LoaderOptions loader_options(const Recipe& recipe, const Timeline& timeline,
                             const Communicators& comms) {
  LoaderOptions options;
  for (const BlendSource& source : recipe.data.blend)
    options.sources.push_back({source.path, source.weight});
  if (options.sources.empty()) options.sources.push_back({recipe.data.train, 1.0});
  options.sequence_length = recipe.data.sequence_length;
  options.global_batch = timeline.batches();
  options.micro_batch = recipe.batch.micro;
  options.seed = static_cast<uint64_t>(recipe.data.seed);
  options.attend_across_documents = recipe.data.attend_across_documents;
  options.shuffle = recipe.data.shuffle;
  options.vocab_size = recipe.model.vocab_size;
  options.shard_index = comms.data().rank();
  options.num_shards = comms.data().size();
  return options;
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
      step_(recipe, device, comms, training_plans(recipe, comms.data().size())),
      scaler_(recipe.precision, recipe.on_failure) {
  step_.initialize(scaler_.now());
  loader_ = std::make_unique<Loader>(loader_options(recipe, timeline_, comms));
  if (!recipe.data.tokenizer.empty()) {
    const Tokenizer tokenizer = Tokenizer::load(recipe.data.tokenizer);
    for (int64_t token = 0; token < tokenizer.vocab_size(); ++token)
      token_bytes_.push_back(
          static_cast<int64_t>(tokenizer.token_bytes(static_cast<int32_t>(token)).size()));
  }
}

Reached Trainer::reached() const {
  const int64_t samples = loader_->cursor().samples;
  return {.steps = steps_,
          .updates = updates_,
          .tokens = timeline_.tokens(samples),
          .step_tokens = timeline_.tokens(timeline_.batches().at(samples))};
}

int64_t Trainer::total_steps() const {
  return timeline_.total_steps(recipe_.run.length(), steps_, loader_->cursor().samples);
}

int64_t Trainer::total_samples() const {
  return timeline_.total_samples(recipe_.run.length(), steps_, loader_->cursor().samples);
}

// counts and loss words: of all ranks, in the host's memory.
void Trainer::report_experts(const Tensor& counts, const Tensor& loss_words, StepReport& report) {
  report.aux_loss = read_sum(loss_words).round() / static_cast<double>(report.sequences);
  report.expert_loads = routing()->loads(counts);
  if (recipe_.router.rebalance_every == 0) return;
  routing()->observe(counts);
  if (moves_experts_after(report.step) && routing()->rebalance() > 0) publish_weights();
}

bool Trainer::moves_experts_after(int64_t step) const {
  const int64_t every = recipe_.router.rebalance_every;
  return step_.routing() && every > 0 && step % every == 0;
}

Batch Trainer::next_batch() {
  const trace::Range range("step", [] { return "data"; });
  const Activity activity("reading", "the data of the next batch");
  return loader_->next();
}

bool Trainer::reports_late() const {
  return step_.reports_late();
}

// A step whose numbers are not known yet may be applied or not.
std::vector<double> Trainer::choices(Reached now) const {
  std::vector<double> table;
  for (int unknown = 0; unknown <= (unsettled_ ? 1 : 0); ++unknown, ++now.updates) {
    const auto row = step_.optimizer().choice(learning_rate_.at(now), now.updates + 1);
    table.insert(table.end(), row.begin(), row.end());
  }
  return table;
}

// `now` is where the run stood before the batch was read.
StepInputs Trainer::inputs_of(const Batch& batch, const Reached& now, const StepWishes& wishes) {
  const RouterOptions& router = recipe_.router;
  Reached after = reached();
  ++after.steps;
  StepInputs inputs{
      .number = now.steps + 1,
      .sequences = batch.samples,
      .mtp_loss_weight = mtp_loss_weight(recipe_.mtp, now),
      .updates_known = updates_,
      .choices = choices(now),
      .loss_scale = scaler_.rules(),
      .moves_router_biases = router.balance == Balance::aux_free && !router.bias_update.over(after),
      .wishes = wishes};
  for (const MicroBatch& part : batch.micros) {
    inputs.micros.push_back(to_micro(stream(), part, recipe_.data.sequence_length));
    inputs.targets += part.num_targets;
  }
  return inputs;
}

Trainer::Started Trainer::start_step(const StepWishes& wishes) {
  Started started;
  StepReport& report = started.report;
  started.start = Clock::now();
  const trace::Range step_range(stream(), "step",
                                [&] { return "step " + std::to_string(steps_ + 1); });
  const Reached now = reached();
  const Batch batch = next_batch();
  report.data_seconds = seconds_since(started.start);
  report.sequences = batch.samples;
  report.samples = loader_->cursor().samples;
  CommTimer timer;
  started.place = step_.step(inputs_of(batch, now, wishes), timer);
  report.step = ++steps_;
  report.comm_seconds = timer.seconds;
  return started;
}

StepReport Trainer::finish_step(Started started) {
  StepReport report = std::move(started.report);
  const StepNumbers::Values numbers = step_.numbers().read(started.place);
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
  if (routing())
    report_experts(numbers.more[Step::kExpertCounts], numbers.more[Step::kBalanceLosses], report);
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
  if (moves_experts_after(steps_)) before = settle();  // the next step needs to know where they lie
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
  const int first = scaler_.dynamic()
                        ? step_.gradients().first_overflow(numbers.more[Step::kOverflows])
                        : numbers.first_bad;
  const std::vector<std::string> names = comms_.world().all_gather(
      first < 0 ? std::string() : parameters().at(first).name + " grad", "overflow");
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
