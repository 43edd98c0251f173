// SPDX-License-Identifier: Apache-2.0
#include "launch/run/peak.h"

#include <algorithm>

#include "kernels/cpu_path.h"
#include "kernels/cuda_plugin.h"
#include "kernels/peak.h"
#include "launch/report/gpu_peak.h"

namespace tessera {
namespace {

double sum_over_ranks(World& world, int64_t mine) {
  return static_cast<double>(world.all().all_reduce(mine, Reduce::sum, "peak"));
}

double published_peak_of_all(const TrainJob& job) {
  const Recipe& recipe = job.recipe;
  Communicator& all = job.world.all();
  const DeviceFacts facts = cuda_accelerator().facts(job.device.index);
  const double mine =
      published_peak_flops(facts.name, recipe.compute_type(), recipe.precision.tf32);
  const auto gpus = all.all_gather(facts.identity, "GPU");
  const auto sharing = std::count(gpus.begin(), gpus.end(), facts.identity);
  if (!all.agree(mine > 0, "peak")) return 0;
  return sum_over_ranks(job.world, static_cast<int64_t>(mine) / sharing);
}

}  // namespace

double peak_flops_of_all(const TrainJob& job) {
  if (job.device.kind == Device::Kind::cuda) return published_peak_of_all(job);
  if (job.device.kind != Device::Kind::cpu) return 0;
  const double mine = measure_peak_flops(job.recipe.compute_type(), cpu_threads());
  return sum_over_ranks(job.world, static_cast<int64_t>(mine));
}

}  // namespace tessera
