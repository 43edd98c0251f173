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

namespace {

// A signal is heard between parts, each of this many microbatches for every stage of the pipeline:
// enough that filling and draining it for each part costs little.
constexpr int64_t kMicrosOfAPart = 8;

}  // namespace

// Every data rank runs equally many microbatches, as the plan of the others expects: where the
// windows [begin, end) run out, one without targets.
std::vector<Micro> Trainer::evaluation_part(const EvalWindows& windows, int64_t begin, int64_t end,
                                            EvalCounts& counts) {
  const int64_t micro = recipe_.batch.micro, round = comms_.data().size() * micro;
  std::vector<Micro> micros;
  for (; begin < end; begin += round) {
    const int64_t first = begin + comms_.data().rank() * micro;
    MicroBatch batch =
        windows.read(std::min(first, end - 1), std::clamp<int64_t>(end - first, 1, micro));
    if (first >= end) {
      std::fill(batch.targets.begin(), batch.targets.end(), -1);
      batch.num_targets = 0;
    }
    counts.targets += batch.num_targets;
    for (const int32_t target : batch.targets)
      if (target >= 0 && static_cast<size_t>(target) < token_bytes_.size())
        counts.bytes += token_bytes_[static_cast<size_t>(target)];
    micros.push_back(to_micro(stream(), batch, recipe_.data.sequence_length));
  }
  return micros;
}

EvalReport Trainer::evaluate(const std::function<void(double part)>& progress,
                             const std::function<bool()>& stop) {
  const auto start = std::chrono::steady_clock::now();
  const EvalWindows windows(recipe_.data.validation, recipe_.data.sequence_length,
                            recipe_.model.vocab_size, recipe_.data.attend_across_documents);
  const int64_t wanted = recipe_.run.eval_batches * recipe_.batch.global;
  const int64_t count = wanted > 0 ? std::min(wanted, windows.count()) : windows.count();
  Communicator& pipeline = comms_.along(Axis::pipeline);
  const int64_t part =
      kMicrosOfAPart * pipeline.size() * comms_.data().size() * recipe_.batch.micro;
  const bool speaks = comms_.along(Axis::tensor).rank() == 0;  // tensor ranks know the same

  EvalCounts counts;
  ExactSum mine;
  for (int64_t begin = 0; begin < count; begin += part) {
    const int64_t wish = stop && stop() ? 1 : 0;
    if (stop && comms_.world().all_reduce(wish, Reduce::max, "end of evaluation") > 0)
      return {.step = steps_, .stopped = true};
    const int64_t end = std::min(count, begin + part);
    const auto of_all = [&, begin, end](double share) {
      progress((static_cast<double>(begin) + share * static_cast<double>(end - begin)) /
               static_cast<double>(count));
    };
    stage().begin_evaluation(evaluation_part(windows, begin, end, counts), of_all);
    run(evaluation_plan(recipe_.parallel, step_.plans().begin()->second, stage().num_micro()),
        pipeline.rank(), step_.passes(), stream(), pipeline);
    if (speaks) mine.add(read_sum(stream(), stage().loss_words()));
  }
  if (!speaks || pipeline.rank() > 0) counts = {};

  const Tensor& words = stage().loss_words();
  write_sum(stream(), mine, words);  // normalized, so that all ranks' fit
  comms_.world().all_reduce(stream(), words, words, Reduce::sum, "validation loss");

  EvalReport report;
  report.step = steps_;
  report.tokens = comms_.world().all_reduce(counts.targets, Reduce::sum, "validation tokens");
  const int64_t bytes = comms_.world().all_reduce(counts.bytes, Reduce::sum, "validation bytes");
  const double sum = read_sum(stream(), words).round();
  report.loss = sum / static_cast<double>(std::max<int64_t>(1, report.tokens));
  if (bytes > 0) report.bits_per_byte = sum / std::numbers::ln2 / static_cast<double>(bytes);
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

}  // namespace tessera
