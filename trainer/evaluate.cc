// SPDX-License-Identifier: Apache-2.0
// Validation: forward passes without a tape over fixed windows, summed exactly over rows and ranks.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <numbers>

#include "data/eval_windows.h"
#include "kernels/base/exact_sum.h"
#include "kernels/copy.h"
#include "kernels/reduce.h"
#include "trainer/trainer.h"

namespace tessera {

EvalReport Trainer::evaluate(const std::function<void(double part)>& progress) {
  const auto start = std::chrono::steady_clock::now();
  const int64_t length = recipe_.data.sequence_length, micro = recipe_.batch.micro;
  const EvalWindows windows(recipe_.data.validation, length, recipe_.model.vocab_size,
                            recipe_.data.attend_across_documents);
  const int64_t wanted = recipe_.run.eval_batches * recipe_.batch.global;
  const int64_t count = wanted > 0 ? std::min(wanted, windows.count()) : windows.count();

  const Communicator& data = comms_.data();
  const Tensor words(stream_.device(), DType::i64, {ExactSum::kWords});
  fill(stream_, 0, words);
  int64_t targets = 0, bytes = 0;
  for (int64_t first = data.rank() * micro; first < count; first += data.size() * micro) {
    const MicroBatch batch = windows.read(first, std::min(micro, count - first));
    exact_sum(stream_, stage_->losses(to_micro(stream_, batch, length)), words);
    targets += batch.num_targets;
    for (const int32_t target : batch.targets)
      if (target >= 0 && static_cast<size_t>(target) < token_bytes_.size())
        bytes += token_bytes_[static_cast<size_t>(target)];
    progress(std::min(
        1.0, static_cast<double>(first + data.size() * micro) / static_cast<double>(count)));
  }
  ExactSum loss;
  std::memcpy(loss.words().data(), words.data(), sizeof(int64_t) * ExactSum::kWords);
  loss.normalize();
  std::memcpy(words.data(), loss.words().data(), sizeof(int64_t) * ExactSum::kWords);
  comms_.data().all_reduce(stream_, words, words, Reduce::sum, "validation loss");
  std::memcpy(loss.words().data(), words.data(), sizeof(int64_t) * ExactSum::kWords);

  EvalReport report;
  report.step = step_;
  report.tokens = comms_.data().all_reduce(targets, Reduce::sum, "validation tokens");
  bytes = comms_.data().all_reduce(bytes, Reduce::sum, "validation bytes");
  const double sum = loss.round();
  report.loss = sum / static_cast<double>(std::max<int64_t>(1, report.tokens));
  if (bytes > 0) report.bits_per_byte = sum / std::numbers::ln2 / static_cast<double>(bytes);
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

}  // namespace tessera
