// SPDX-License-Identifier: Apache-2.0
#include "parallel/world.h"

#include <algorithm>
#include <cstdlib>
#include <exception>

#include <mpi.h>
#include <sched.h>
#include <unistd.h>

#include "kernels/base/log.h"
#include "kernels/cpu_path.h"
#include "parallel/mpi_communicator.h"

namespace tessera {
namespace {

int count_bits(const std::vector<unsigned char>& mask) {
  int bits = 0;
  for (const unsigned char byte : mask) bits += __builtin_popcount(byte);
  return bits;
}

// Cores of this node that its ranks may use, divided by its ranks: right for bound ranks (disjoint
// masks), unbound ranks (equal masks) and containers (small masks).
int fair_threads(MPI_Comm node, int local_size) {
  if (const char* wish = std::getenv("OMP_NUM_THREADS"); wish && std::atoi(wish) > 0)
    return std::atoi(wish);
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  const auto* bytes = reinterpret_cast<const unsigned char*>(&set);
  std::vector<unsigned char> mine(bytes, bytes + sizeof set), all(sizeof set);
  MPI_Allreduce(mine.data(), all.data(), static_cast<int>(sizeof set), MPI_BYTE, MPI_BOR, node);
  return std::clamp(count_bits(all) / local_size, 1, std::max(1, count_bits(mine)));
}

}  // namespace

struct World::Impl {
  std::unique_ptr<Communicator> all;
  int local_rank = 0;
  int local_size = 1;
};

World::World() : impl_(std::make_unique<Impl>()) {
  setenv("OMPI_MCA_mpi_yield_when_idle", "1", 0);
  setenv("OMPI_MCA_btl_base_warn_component_unused", "0", 0);
  int provided = 0;
  check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided) == MPI_SUCCESS,
        ErrorKind::peer, "MPI_Init_thread failed");
  MPI_Comm world = MPI_COMM_NULL, node = MPI_COMM_NULL;
  MPI_Comm_dup(MPI_COMM_WORLD, &world);
  MPI_Comm_split_type(world, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
  MPI_Comm_rank(node, &impl_->local_rank);
  MPI_Comm_size(node, &impl_->local_size);
  set_cpu_threads(fair_threads(node, impl_->local_size));
  MPI_Comm_free(&node);
  impl_->all = mpi_communicator(&world, "world");
  if (size() > 1) log::set_prefix("rank " + std::to_string(rank()) + ": ");
  const auto lowest =
      impl_->all->all_reduce(static_cast<int64_t>(cpu_path()), Reduce::min, "instruction-set path");
  set_cpu_path(static_cast<CpuPath>(lowest));
}

World::~World() {
  // During an error this rank must not wait for the others; main ends the job by abort().
  if (std::uncaught_exceptions() > 0) {
    abandon_mpi();
    return;
  }
  impl_->all.reset();
  MPI_Finalize();
}

int World::rank() const {
  return impl_->all->rank();
}
int World::size() const {
  return impl_->all->size();
}
int World::local_rank() const {
  return impl_->local_rank;
}
int World::local_size() const {
  return impl_->local_size;
}
Communicator& World::all() const {
  return *impl_->all;
}

bool World::launched() const {
  return std::getenv("OMPI_COMM_WORLD_SIZE") || std::getenv("PMIX_RANK") || std::getenv("PMI_RANK");
}

std::string World::library() const {
  char text[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0;
  MPI_Get_library_version(text, &length);
  const std::string whole(text, static_cast<size_t>(length));
  const size_t comma = whole.find(',');
  std::string first = whole.substr(0, comma);  // "Open MPI v4.1.4"
  if (const size_t v = first.find(" v"); v != std::string::npos) first.erase(v + 1, 1);
  return first;
}

std::unique_ptr<Communicator> World::group(const std::vector<int>& ranks,
                                           const std::string& label) {
  check(std::find(ranks.begin(), ranks.end(), rank()) != ranks.end(),
        "World: my rank is not in the group", label);
  MPI_Comm comm = MPI_COMM_NULL;
  const auto place = std::find(ranks.begin(), ranks.end(), rank()) - ranks.begin();
  MPI_Comm_split(MPI_COMM_WORLD, ranks.front(), static_cast<int>(place), &comm);
  if (ranks.size() == 1) {
    MPI_Comm_free(&comm);
    return self_communicator(label);
  }
  return mpi_communicator(&comm, label);
}

void World::abort(int code) {
  log::flush();
  abandon_mpi();
  int initialized = 0, finalized = 0;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  if (initialized && !finalized) MPI_Abort(MPI_COMM_WORLD, code);
  _exit(code);
}

}  // namespace tessera
