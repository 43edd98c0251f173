// SPDX-License-Identifier: Apache-2.0
#include "launch/run/opening_lines.h"

#include "kernels/base/log.h"
#include "launch/job/device_choice.h"
#include "launch/report/format.h"
#include "launch/report/schedule_lines.h"
#include "launch/version.h"
#include "parallel/section.h"
#include "trainer/model/counts.h"

namespace tessera {
namespace {

std::string with_s(int64_t count, const std::string& noun) {
  return std::to_string(count) + " " + noun + (count > 1 ? "s" : "");
}

std::string program_line(const TrainJob& job) {
  const int overrides = job.loaded.num_overrides;
  return version_string() + "  recipe " + job.recipe.name + " (" + job.loaded.path +
         (overrides > 0 ? " + " + with_s(overrides, "override") : "") + ")  run dir " +
         job.directory.path();
}

std::string layout_line(const TrainJob& job) {
  const ProcessGrid& grid = job.comms.grid();
  const bool alone = !job.world.launched() && job.world.size() == 1;
  return "layout   " + with_s(job.world.size(), "rank") + " = " + grid.to_string() + "   batch " +
         batch_words(job.recipe, grid.size(Axis::data)) +
         (alone
              ? "; alone: mpirun -n 2 tessera train " + job.recipe.name + ".yaml uses two processes"
              : "");
}

std::string model_line(const Recipe& recipe, const Trainer& trainer) {
  const ModelOptions& model = recipe.model;
  const double flops = training_flops_per_token(model, recipe.data.sequence_length);
  const DType compute = recipe.compute_type();
  return std::string("model    ") + name_of(model.architecture) + "  " +
         std::to_string(model.num_hidden_layers) + " layers  " +
         with_prefix(static_cast<double>(trainer.num_parameters())) + " parameters (" +
         with_prefix(flops) + "FLOP/token)   " + name(compute) + " compute, " +
         name(accumulation_type(compute)) + " master";
}

std::string memory_line(const RankFit& fit) {
  const auto peak = [&](MemoryClass c) {
    return as_bytes(static_cast<double>(fit.memory.peak[static_cast<size_t>(c)]));
  };
  const auto room = static_cast<double>(fit.capacity.bytes);
  return "memory   per rank: weights " + peak(MemoryClass::weights) + "  grads " +
         peak(MemoryClass::gradients) + "  optimizer " + peak(MemoryClass::optimizer) +
         "  activations " + peak(MemoryClass::activations) + "  in all " +
         as_bytes(static_cast<double>(fit.memory.system_bytes)) + " (planned)" +
         (fit.capacity.bytes > 0 ? " of " + as_bytes(room) + ": fits" : "");
}

std::string data_line(const DataSummary& data) {
  std::string line =
      "data     train " + with_prefix(static_cast<double>(data.train_tokens)) + " tokens";
  if (data.bytes_per_token > 0) line += " (" + fixed(data.bytes_per_token, 1) + " bytes/token)";
  if (data.validation_tokens > 0)
    line += "  validation " + with_prefix(static_cast<double>(data.validation_tokens));
  if (data.xz_bits_per_byte > 0)
    line += "  xz -9e on validation: " + fixed(data.xz_bits_per_byte, 2) + " bits/byte";
  return line;
}

std::string device_line(const TrainJob& job) {
  return "device   " + describe(job.device) + "   comm " +
         (job.world.size() > 1
              ? std::string(job.comms.world().transport()) + " (" + job.world.library() + ")"
              : "self");
}

}  // namespace

void tell_opening_lines(TrainJob& job, const Trainer& trainer) {
  const Recipe& recipe = job.recipe;
  log::info(program_line(job));
  log::info(layout_line(job));
  if (recipe.batch.ramp.from > 0 || recipe.run.tokens > 0)
    for (const ScheduleLine& line : schedule_lines(recipe))
      log::info(line.label + std::string(9 - line.label.size(), ' ') + line.text);
  log::info(model_line(recipe, trainer));
  log::info(memory_line(job.fit));
  {
    const Activity activity("compressing", recipe.data.validation + " with xz");
    job.data.xz_bits_per_byte = validation_xz(recipe);
  }
  log::info(data_line(job.data));
  log::info(device_line(job));
}

}  // namespace tessera
