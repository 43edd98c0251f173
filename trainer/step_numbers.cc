// SPDX-License-Identifier: Apache-2.0
#include "trainer/step_numbers.h"

#include <algorithm>
#include <utility>

#include "kernels/copy.h"
#include "kernels/reduce.h"
#include "kernels/transfer.h"
#include "trainer/model_state.h"

namespace tessera {
namespace {
constexpr size_t kUnderWay = 2;  // steps whose numbers the host may not have read
}

StepNumbers::StepNumbers(Stream& stream, const ParameterStore& store, const Communicators& comms,
                         std::vector<Tensor> more)
    : stream_(stream),
      comms_(comms),
      more_(std::move(more)),
      statistics_(stream.device(), DType::i64, {kStepStatistics}, MemoryClass::communication),
      numbers_(stream.device(), DType::f64, {kNumStepNumbers}, MemoryClass::other) {
  for (const Piece& piece : store.pieces())
    if (counts(store, comms, piece)) {
      parameters_.push_back(piece.parameter);
      grads_.push_back(store.grad(piece));
    }
  bad_ = Tensor(stream.device(), DType::i64, {std::ssize(grads_)}, MemoryClass::other);
  for (size_t i = 0; i < kUnderWay; ++i) {
    std::vector<Tensor> places;
    for (const Tensor& one : more_) places.push_back(staging_like(stream, one));
    arrivals_.push_back({staging_like(stream, numbers_), staging_like(stream, bad_),
                         std::move(places), Event(stream.device())});
  }
}

StepNumbers::~StepNumbers() {
  try {
    for (const Arrival& arrival : arrivals_) arrival.event.synchronize();
  } catch (const Error&) {
    return;  // the device failed, and with it the copies
  }
}

void StepNumbers::set(int64_t updates, const LossScaleState& scale) {
  std::vector<double> values(kNumStepNumbers);
  values[kUpdates] = static_cast<double>(updates);
  values[kScale] = scale.scale;
  values[kGrowthTracker] = static_cast<double>(scale.growth_tracker);
  values[kHysteresis] = static_cast<double>(scale.hysteresis);
  upload(stream_, values, numbers_);
}

void StepNumbers::set_sequence_targets(double mean) {
  upload(stream_, std::vector<double>{mean}, numbers_.column_slice(kSequenceTargets, 1));
}

void StepNumbers::measure(const Stage& stage, std::array<int64_t, kNumStepCounts> counts_of_rank,
                          const StepRules& rules, const std::vector<double>& choices) {
  const auto sum = [&](StepSum which) {
    return statistics_.column_slice(which * ExactSum::kWords, ExactSum::kWords);
  };
  fill(stream_, 0, statistics_);
  if (comms_.along(Axis::tensor).rank() == 0) {  // tensor ranks know the same
    copy(stream_, stage.loss_words().flat(), sum(kLossSum).flat());
    copy(stream_, stage.mtp_loss_words().flat(), sum(kMtpLossSum).flat());
  }
  fill(stream_, 0, bad_);
  sum_of_squares(stream_, grads_, sum(kNormSum), bad_);
  upload(stream_, std::vector<int64_t>(counts_of_rank.begin(), counts_of_rank.end()),
         statistics_.column_slice(kNumStepSums * ExactSum::kWords, kNumStepCounts));
  comms_.world().all_reduce(stream_, statistics_, statistics_, Reduce::sum, "step statistics");

  const auto rows = static_cast<int64_t>(choices.size()) / kNumChoices;
  const Tensor table(stream_.device(), DType::f64, {rows, kNumChoices}, MemoryClass::other);
  upload(stream_, choices, table);
  step_controls(stream_, rules, statistics_, table, numbers_);
}

int StepNumbers::send() {
  const size_t place = next_++ % kUnderWay;
  Arrival& arrival = arrivals_[place];
  start_download(stream_, numbers_, arrival.numbers);
  start_download(stream_, bad_, arrival.bad);
  for (size_t i = 0; i < more_.size(); ++i) start_download(stream_, more_[i], arrival.more[i]);
  arrival.event.record(stream_);
  return static_cast<int>(place);
}

LossScaleState StepNumbers::Values::loss_scale() const {
  return {.scale = number[kScale],
          .growth_tracker = static_cast<int64_t>(number[kGrowthTracker]),
          .hysteresis = static_cast<int64_t>(number[kHysteresis])};
}

StepNumbers::Values StepNumbers::read(int place) const {
  const Arrival& arrival = arrivals_[static_cast<size_t>(place)];
  arrival.event.synchronize();
  Values values;
  values.more = arrival.more;
  std::copy_n(arrival.numbers.as<double>(), kNumStepNumbers, values.number.begin());
  const auto* bad = arrival.bad.as<int64_t>();
  for (size_t i = parameters_.size(); i-- > 0 && values.first_bad < 0;)
    if (bad[i] != 0) values.first_bad = parameters_[i];
  return values;
}

}  // namespace tessera
