// SPDX-License-Identifier: Apache-2.0
#include "launch/job/device_choice.h"

#include <algorithm>
#include <set>

#include "kernels/base/check.h"
#include "kernels/base/log.h"
#include "kernels/base/warning.h"
#include "kernels/cpu_path.h"
#include "kernels/cuda_plugin.h"
#include "launch/report/format.h"

namespace tessera {
namespace {

Device gpu_of(int local_rank) {
  return {Device::Kind::cuda, local_rank % cuda_accelerator().count()};
}

}  // namespace

Device resolve_device(const std::string& name, int local_rank) {
  if (name == "reference") return {Device::Kind::reference};
  if (name == "cuda") return gpu_of(local_rank);
  const bool finds = name == "auto" && gpu_in_sight() && cuda_plugin().problem.empty();
  return finds ? gpu_of(local_rank) : Device{};
}

Device settle_device(World& world, const std::string& name, Device mine) {
  const bool gpu = mine.kind == Device::Kind::cuda;
  if (name == "auto" && !world.all().agree(gpu, "device")) return {};
  if (gpu && world.rank() == 0)
    for (const LackingLibrary& each : lacking_libraries())
      log::warn(coded(Warning::plugin_lacks_library, "the CUDA plugin was built without " +
                                                         each.name + ": " + each.follows + "; " +
                                                         each.remedy));
  // A GPU is known by its identity: each rank may see its own as the first.
  const std::vector<std::string> all = world.all().all_gather(
      gpu ? cuda_accelerator().facts(mine.index).identity : std::string(), "device");
  const auto gpus = static_cast<int64_t>(std::set<std::string>(all.begin(), all.end()).size());
  if (gpu && gpus < world.size() && world.rank() == 0)
    log::warn(coded(Warning::gpus_shared,
                    std::to_string(world.size()) + " ranks share " + std::to_string(gpus) + " GPU" +
                        (gpus > 1 ? "s" : "") +
                        ": they take turns, and talk over the host's memory; use one rank a GPU"));
  return mine;
}

void choose_tf32(Device device, bool wanted) {
  if (device.kind == Device::Kind::cuda) return cuda_accelerator().set_tf32(device.index, wanted);
  check(!wanted, ErrorKind::usage,
        "precision.tf32: only the tensor cores of a GPU multiply in TF32, but this runs on " +
            describe(device) + ": set precision.tf32=false, or run.device=cuda");
}

std::string describe_cpu() {
  return std::string("cpu x86-64-") + name(cpu_path()) + ", " + std::to_string(cpu_threads()) +
         " thread" + (cpu_threads() == 1 ? "" : "s") + " a rank";
}

std::string describe(Device device) {
  if (device.kind == Device::Kind::reference) return "reference (double precision)";
  if (device.kind != Device::Kind::cuda) return describe_cpu();
  const Accelerator& accelerator = cuda_accelerator();
  const DeviceFacts facts = accelerator.facts(device.index);
  return name(device) + " " + facts.name + ", " +
         as_binary_bytes(static_cast<double>(facts.memory_bytes)) + " (sm_" +
         std::to_string(facts.capability_major) + std::to_string(facts.capability_minor) + ", " +
         accelerator.libraries() + ")" +
         (accelerator.tf32(device.index) ? ", f32 products in TF32" : "");
}

}  // namespace tessera
