// SPDX-License-Identifier: Apache-2.0
#include "launch/run/memory_fit.h"

#include <array>
#include <utility>

#include "kernels/cuda_plugin.h"
#include "launch/report/format.h"
#include "launch/run/preflight.h"

namespace tessera {
namespace {

// What a process can allocate: below the number in the name, part of which the driver keeps.
constexpr std::array<std::pair<const char*, double>, 3> kGpus = {
    {{"h200-141g", 139.8}, {"h100-80g", 79.1}, {"a100-80g", 79.1}}};

std::string size(int64_t bytes) {
  return as_binary_bytes(static_cast<double>(bytes));
}

std::string shared_by(int ranks) {
  return " / " + std::to_string(ranks) + " rank" + (ranks > 1 ? "s" : "");
}

Capacity part_of(const std::string& device, int64_t free, int ranks) {
  return {device, device + ": " + size(free) + " free here" + shared_by(ranks), free / ranks};
}

}  // namespace

Capacity capacity_of(const std::string& device, int num_ranks) {
  constexpr double kGiB = 1 << 30;
  if (device == "cpu") return part_of(device, available_memory(), num_ranks);
  for (const auto& [name, gib] : kGpus)
    if (device == name) return {device, device, static_cast<int64_t>(gib * kGiB)};
  std::string known = "cpu";
  for (const auto& gpu : kGpus) known += std::string(" | ") + gpu.first;
  fail(ErrorKind::usage, "--device " + device + ": must be " + known);
}

// Local ranks take the GPUs in turn (resolve_device).
Capacity capacity_here(const World& world, Device device) {
  if (device.kind != Device::Kind::cuda)
    return part_of("cpu", available_memory(), world.local_size());
  const int gpus = cuda_accelerator().count();
  const int before = (world.local_size() - 1 - device.index) / gpus;
  return part_of("cuda:" + std::to_string(device.index),
                 cuda_accelerator().memory(device.index).free, before + 1);
}

void refuse(const Need& need, const Capacity& capacity, const std::optional<Change>& change,
            int num_ranks) {
  std::string text = "rank " + std::to_string(need.rank) + " would need " +
                     size(need.memory.system_bytes) + ", device has " + size(capacity.bytes) +
                     " (" + capacity.words + "):";
  for (const auto& [words, memory_class] :
       {std::pair{" weights ", MemoryClass::weights}, std::pair{", grads ", MemoryClass::gradients},
        std::pair{", optimizer ", MemoryClass::optimizer},
        std::pair{", activations ", MemoryClass::activations},
        std::pair{", buffers ", MemoryClass::communication}})
    text += words + size(need.memory.peak[static_cast<size_t>(memory_class)]);
  text += change ? ". Cheapest change that fits: " + change->keys + " (-" +
                       size(need.memory.system_bytes - change->need.memory.system_bytes) + ")"
                 : ". No one or two changes of zero, recompute, micro, tensor or pipeline fit on " +
                       std::to_string(num_ranks) + " ranks: use more";
  fail(ErrorKind::capacity, text);
}

RankFit check_memory(const World& world, Recipe recipe, Device device) {
  if (device.kind == Device::Kind::cuda) recipe.run.device = "cuda";
  RankFit fit{.memory = {}, .capacity = capacity_here(world, device)};
  for (const DryJob& job : dry_jobs(recipe, world.size())) {
    const MemoryUse memory = job.play(world.rank()).memory;
    if (memory.system_bytes > fit.memory.system_bytes) fit.memory = memory;
  }
  const int64_t room = fit.capacity.bytes;
  if (room > 0 && fit.memory.system_bytes > room)
    refuse({world.rank(), fit.memory}, fit.capacity, cheapest_change(recipe, world.size(), room),
           world.size());
  return fit;
}

}  // namespace tessera
