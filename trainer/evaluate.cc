// SPDX-License-Identifier: Apache-2.0
// Validation: forward passes that remember nothing over fixed windows, through the same pipeline,
// summed exactly over rows and ranks.
#include <algorithm>
#include <chrono>
#include <numbers>

#include "data/eval_windows.h"
#include "kernels/copy.h"
#include "kernels/reduce.h"
#include "trainer/trainer.h"
#include "trainer/training_plan.h"

namespace tessera {

EvalReport Trainer::evaluate(const std::function<void(double part)>& progress) {
  const auto start = std::chrono::steady_clock::now();
  const int64_t length = recipe_.data.sequence_length, micro = recipe_.batch.micro;
  const EvalWindows windows(recipe_.data.validation, length, recipe_.model.vocab_size,
                            recipe_.data.attend_across_documents);
  const int64_t wanted = recipe_.run.eval_batches * recipe_.batch.global;
  const int64_t count = wanted > 0 ? std::min(wanted, windows.count()) : windows.count();

  // Every data rank runs equally many microbatches, as the plan of the others expects: where the
  // windows run out, one without targets.
  const Communicator& data = comms_.data();
  const int64_t round = data.size() * micro;
  std::vector<Micro> micros;
  int64_t targets = 0, bytes = 0;
  for (int64_t begin = 0; begin < count; begin += round) {
    const int64_t first = begin + data.rank() * micro;
    MicroBatch batch =
        windows.read(std::min(first, count - 1), std::clamp<int64_t>(count - first, 1, micro));
    if (first >= count) {
      std::fill(batch.targets.begin(), batch.targets.end(), -1);
      batch.num_targets = 0;
    }
    targets += batch.num_targets;
    for (const int32_t target : batch.targets)
      if (target >= 0 && static_cast<size_t>(target) < token_bytes_.size())
        bytes += token_bytes_[static_cast<size_t>(target)];
    micros.push_back(to_micro(stream_, batch, length));
  }
  stage_->begin_evaluation(std::move(micros), progress);
  Communicator& pipeline = comms_.along(Axis::pipeline);
  run(evaluation_plan(recipe_.parallel, plans_.begin()->second, stage_->num_micro()),
      pipeline.rank(), passes(), stream_, pipeline);
  const bool speaks = comms_.along(Axis::tensor).rank() == 0;  // tensor ranks know the same
  if (!speaks) fill(stream_, 0, stage_->loss_words());
  if (!speaks || pipeline.rank() > 0) targets = bytes = 0;

  const Tensor& words = stage_->loss_words();
  write_sum(stream_, read_sum(stream_, words), words);  // normalized, so that all ranks' fit
  comms_.world().all_reduce(stream_, words, words, Reduce::sum, "validation loss");

  EvalReport report;
  report.step = step_;
  report.tokens = comms_.world().all_reduce(targets, Reduce::sum, "validation tokens");
  bytes = comms_.world().all_reduce(bytes, Reduce::sum, "validation bytes");
  const double sum = read_sum(stream_, words).round();
  report.loss = sum / static_cast<double>(std::max<int64_t>(1, report.tokens));
  if (bytes > 0) report.bits_per_byte = sum / std::numbers::ln2 / static_cast<double>(bytes);
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

}  // namespace tessera
