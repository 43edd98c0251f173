// SPDX-License-Identifier: Apache-2.0
#include "launch/run/run_observers.h"

#include "kernels/base/log.h"
#include "launch/report/format.h"
#include "launch/run/peak.h"
#include "trainer/metrics.h"
#include "trainer/model/counts.h"
#include "trainer/tensorboard.h"

namespace tessera {
namespace {

std::string memory_line(const MemoryUse& use) {
  std::string peaks;
  for (int c = 0; c < kNumMemoryClasses; ++c)
    peaks += std::string(c ? "  " : "") + name(static_cast<MemoryClass>(c)) + " " +
             as_bytes(static_cast<double>(use.peak[static_cast<size_t>(c)]));
  return "memory   peak of rank 0: " + as_bytes(static_cast<double>(use.system_bytes)) + "  (" +
         peaks + ")";
}

}  // namespace

RunObservers::RunObservers(const TrainJob& job, const Trainer& trainer, const std::string& how)
    : job_(job) {
  const Recipe& recipe = job.recipe;
  const double peak = peak_flops_of_all(job);
  if (!job.leads()) return;
  const double flops = training_flops_per_token(recipe.model, recipe.data.sequence_length);
  console_ = std::make_unique<Console>(
      ConsoleOptions{.total_steps = trainer.total_steps(),
                     .total_samples = trainer.total_samples(),
                     .ramp = recipe.batch.ramp.from > 0,
                     .log_every = recipe.run.log_every,
                     .bytes_per_token = job.data.bytes_per_token,
                     .flops_per_token = flops,
                     .peak_flops = peak,
                     .xz_bits_per_byte = job.data.xz_bits_per_byte,
                     .terminal = stderr_is_terminal() && job.command.verbosity >= 0});
  if (recipe.metrics.jsonl)
    files_.push_back(std::make_unique<MetricsFile>(job.directory.metrics(),
                                                   RunFacts{.flops_per_token = flops,
                                                            .peak_flops = peak,
                                                            .compute = recipe.compute_type(),
                                                            .tf32 = recipe.precision.tf32}));
  if (recipe.metrics.tensorboard)
    files_.push_back(std::make_unique<TensorBoardFile>(job.directory.path()));
  for (Observer* observer : all()) observer->on_start(trainer.steps_done(), how);
}

std::vector<Observer*> RunObservers::all() const {
  std::vector<Observer*> observers;
  if (console_) observers.push_back(console_.get());
  for (const auto& file : files_) observers.push_back(file.get());
  return observers;
}

void RunObservers::finish(const Trainer& trainer, Outcome outcome) {
  if (!console_) return;
  const std::string step =
      std::to_string(trainer.steps_done()) + "/" + std::to_string(trainer.total_steps());
  switch (outcome) {
    case Outcome::done:
      console_->finish("done  " + step, job_.recipe.data.tokenizer.empty()
                                            ? ""
                                            : "tessera generate " + job_.directory.path() +
                                                  " -p \"In the beginning\"");
      break;
    case Outcome::stopped: console_->finish("stopped at step " + step + " (--steps)", ""); break;
    case Outcome::preempted: console_->finish("preempted at step " + step, "resume"); break;
  }
  log::info(memory_line(memory_use(job_.device)));
}

}  // namespace tessera
