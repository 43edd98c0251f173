// SPDX-License-Identifier: Apache-2.0
#include "parallel/transport/gpu_groups.h"

#include <cstdlib>
#include <set>
#include <vector>

#include "kernels/cuda_plugin.h"
#include "parallel/transport/host_staging.h"

namespace tessera {
namespace {

std::string wish() {
  const char* text = std::getenv("TESSERA_TRANSPORT");
  return text == nullptr ? "" : text;
}

std::string problem_of_plugin() {
  for (const LackingLibrary& each : lacking_libraries())
    if (each.name == "NCCL")
      return "the plugin " + cuda_plugin().path + " was built without NCCL: " + each.remedy;
  const auto abi = reinterpret_cast<const char* (*)()>(cuda_plugin_symbol(kNcclAbiSymbol));
  if (abi == nullptr || cuda_plugin_symbol(kNcclSymbol) == nullptr)
    return "the plugin " + cuda_plugin().path + " has no NCCL";
  if (compiled_nccl_abi() == abi()) return {};
  return "the plugin " + cuda_plugin().path + " belongs to another build: it says `" + abi() +
         "`, this program is `" + compiled_nccl_abi() + "`";
}

std::string sharing_of_gpus(Communicator& all, Device device) {
  const std::vector<std::string> gpus =
      all.all_gather(cuda_accelerator().facts(device.index).identity, "GPUs");
  const auto distinct = std::set<std::string>(gpus.begin(), gpus.end()).size();
  if (distinct == gpus.size()) return {};
  return std::to_string(gpus.size()) + " ranks share " + std::to_string(distinct) + " GPU" +
         (distinct > 1 ? "s" : "") + ", and NCCL wants one a rank";
}

std::string problem_of_plugins(Communicator& all) {
  for (const std::string& problem : all.all_gather(problem_of_plugin(), "NCCL"))
    if (!problem.empty()) return problem;
  return {};
}

}  // namespace

std::string why_not_nccl(Communicator& all, Device device) {
  const std::string shared = sharing_of_gpus(all, device), problem = problem_of_plugins(all);
  return problem.empty() ? shared : problem;
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
  // Ranks that share a GPU would not get NCCL from any plugin, and were told so (W014); ranks with
  // a GPU each must not become many times slower in silence.
  const std::string shared = sharing_of_gpus(all, device), problem = problem_of_plugins(all);
  check(!insists || (shared.empty() && problem.empty()), ErrorKind::usage,
        "TESSERA_TRANSPORT=nccl: " + (problem.empty() ? shared : problem));
  check(!shared.empty() || problem.empty(), ErrorKind::usage,
        "run.device=cuda: " + std::to_string(all.size()) +
            " ranks with a GPU each would talk over NCCL, but " + problem +
            "; or set TESSERA_TRANSPORT=mpi, which goes through the host's memory and is many "
            "times slower");
  if (shared.empty()) nccl_ = nccl_ranks(all, device, patience_);
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
