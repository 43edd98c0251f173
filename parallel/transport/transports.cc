// SPDX-License-Identifier: Apache-2.0
#include "parallel/transport/transports.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "kernels/base/buffer.h"
#include "kernels/base/log.h"
#include "parallel/transport/shared_memory_communicator.h"

namespace tessera {
namespace {

bool wanted() {
  const char* wish = std::getenv("TESSERA_TRANSPORT");
  if (wish == nullptr || *wish == '\0' || std::string(wish) == "shared_memory") return true;
  if (std::string(wish) == "nccl") return true;  // between GPUs: parallel/transport/gpu_groups.h
  check(std::string(wish) == "mpi", ErrorKind::usage,
        "TESSERA_TRANSPORT must be mpi, shared_memory or nccl, not", wish);
  return false;
}

// Runs action; what went wrong, or nothing.
template <typename Action>
std::string problem_of(Action&& action) {
  try {
    action();
    return {};
  } catch (const Error& error) {
    return error.what();
  }
}

}  // namespace

Transports::Transports(Communicator& world, Communicator& node, Placement placement, bool crowded)
    : world_(world), placement_(std::move(placement)) {
  enabled_ = world.agree(wanted(), "transport");
  if (!enabled_) return;
  const auto bytes = static_cast<int64_t>(sizeof(Doorbell)) * node.size();
  enabled_ = agreed(problem_of([&] { doorbells_ = share_segment(node, bytes); }));
  if (!enabled_) return;
  auto* bells = reinterpret_cast<Doorbell*>(doorbells_->data());
  patience_ = std::make_unique<Patience>(bells[node.rank()], crowded);
  if (node.size() > 1) share_host_memory();
}

std::unique_ptr<Communicator> Transports::best(std::unique_ptr<Communicator> mpi,
                                               const std::vector<int>& ranks) {
  if (!enabled_) return mpi;
  std::unique_ptr<SharedBoard> shared;
  enabled_ = agreed(problem_of([&] {
    if (ranks.size() > 1 && on_one_node(ranks)) shared = board(*mpi, ranks);
  }));
  if (!enabled_ || !shared) return mpi;
  std::vector<std::string> names;
  for (const int rank : ranks) names.push_back("rank " + std::to_string(rank));
  return shared_memory_communicator(std::move(shared), *patience_, mpi->label(), std::move(names));
}

bool Transports::on_one_node(const std::vector<int>& ranks) const {
  const auto node = [&](int rank) { return placement_.node.at(static_cast<size_t>(rank)); };
  return std::all_of(ranks.begin(), ranks.end(),
                     [&](int rank) { return node(rank) == node(ranks.front()); });
}

std::unique_ptr<SharedBoard> Transports::board(Communicator& mpi, const std::vector<int>& ranks) {
  auto* bells = reinterpret_cast<Doorbell*>(doorbells_->data());
  std::vector<Doorbell*> doorbells;
  for (const int rank : ranks)
    doorbells.push_back(bells + placement_.local_rank.at(static_cast<size_t>(rank)));
  return std::make_unique<SharedBoard>(mpi, std::move(doorbells));
}

// True when no rank of the world has a problem; else the first rank tells the first one's.
bool Transports::agreed(const std::string& problem) {
  const int64_t nobody = world_.size();
  const int64_t first = world_.all_reduce(problem.empty() ? nobody : int64_t{world_.rank()},
                                          Reduce::min, "shared memory");
  if (first == nobody) return true;
  const std::string text = world_.broadcast(problem, static_cast<int>(first), "shared memory");
  if (world_.rank() == 0)
    log::warn("ranks of one node talk over MPI, which is slower:", text, "(rank",
              std::to_string(first) + ")");
  return false;
}

}  // namespace tessera
