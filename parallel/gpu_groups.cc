// SPDX-License-Identifier: Apache-2.0
#include "parallel/gpu_groups.h"

#include <cstdlib>
#include <set>
#include <vector>

#include "kernels/cuda_plugin.h"
#include "parallel/host_staging.h"

namespace tessera {
namespace {

std::string wish() {
  const char* text = std::getenv("TESSERA_TRANSPORT");
  return text == nullptr ? "" : text;
}

std::string problem_of_plugin() {
  const auto abi = reinterpret_cast<const char* (*)()>(cuda_plugin_symbol(kNcclAbiSymbol));
  if (abi == nullptr || cuda_plugin_symbol(kNcclSymbol) == nullptr)
    return "the plugin " + cuda_plugin().path + " has no NCCL";
  if (compiled_nccl_abi() == abi()) return {};
  return "the plugin " + cuda_plugin().path + " belongs to another build: it says `" + abi() +
         "`, this program is `" + compiled_nccl_abi() + "`";
}

}  // namespace

std::string why_not_nccl(Communicator& all, Device device) {
  const std::string mine = problem_of_plugin();
  const std::vector<std::string> gpus =
      all.all_gather(cuda_accelerator().facts(device.index).identity, "GPUs");
  for (const std::string& problem : all.all_gather(mine, "NCCL"))
    if (!problem.empty()) return problem;
  const auto distinct = std::set<std::string>(gpus.begin(), gpus.end()).size();
  if (distinct == gpus.size()) return {};
  return std::to_string(gpus.size()) + " ranks share " + std::to_string(distinct) + " GPU" +
         (distinct > 1 ? "s" : "") + ", and NCCL wants one a rank";
}

std::unique_ptr<NcclRanks> nccl_ranks(Communicator& control, Device device, double patience) {
  using MakeRanks = NcclRanks* (*)(Communicator&, Device, double);
  const auto make = reinterpret_cast<MakeRanks>(cuda_plugin_symbol(kNcclSymbol));
  return std::unique_ptr<NcclRanks>(make(control, device, patience));
}

// A group of one copies on the device itself.
void use_nccl(Communicators& comms, NcclRanks& nccl) {
  comms.replace([&](Communicator& group) -> std::unique_ptr<Communicator> {
    if (group.size() > 1) return nccl.group(group);
    nccl.no_group();
    return nullptr;
  });
}

bool GpuGroups::uses_nccl(Device device) {
  if (decided_) return nccl_ != nullptr;
  decided_ = true;
  Communicator& all = world_.all();
  const bool insists = !all.agree(wish() != "nccl", "transport");
  const bool declines = !all.agree(wish() != "mpi" && wish() != "shared_memory", "transport");
  if (all.size() == 1 || (declines && !insists)) return false;
  const std::string problem = why_not_nccl(all, device);
  check(!insists || problem.empty(), ErrorKind::usage, "TESSERA_TRANSPORT=nccl: " + problem);
  if (problem.empty()) nccl_ = nccl_ranks(all, device, patience_);
  return nccl_ != nullptr;
}

bool GpuGroups::fit(Communicators& comms, Device device, Transport transport) {
  if (device.kind != Device::Kind::cuda) {
    check(wish() != "nccl", ErrorKind::usage,
          "TESSERA_TRANSPORT=nccl needs run.device=cuda, this run is on", name(device));
    return false;
  }
  const bool nccl = transport == Transport::best && uses_nccl(device);
  if (nccl)
    use_nccl(comms, *nccl_);
  else
    stage_through_host(comms);
  return nccl;
}

}  // namespace tessera
