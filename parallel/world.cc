// SPDX-License-Identifier: Apache-2.0
#include "parallel/world.h"

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <numeric>

#include <mpi.h>
#include <sched.h>
#include <unistd.h>

#include "kernels/base/log.h"
#include "kernels/cpu_path.h"
#include "parallel/section.h"
#include "parallel/transport/mpi_communicator.h"
#include "parallel/transport/transports.h"

namespace tessera {
namespace {

int count_bits(const std::vector<unsigned char>& mask) {
  int bits = 0;
  for (const unsigned char byte : mask) bits += __builtin_popcount(byte);
  return bits;
}

struct Cores {
  int mine = 1;  // that I may use
  int node = 1;  // that any rank of this node may use
};

Cores count_cores(MPI_Comm node) {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof set, &set);
  const auto* bytes = reinterpret_cast<const unsigned char*>(&set);
  std::vector<unsigned char> mine(bytes, bytes + sizeof set), all(sizeof set);
  MPI_Allreduce(mine.data(), all.data(), static_cast<int>(sizeof set), MPI_BYTE, MPI_BOR, node);
  return {std::max(1, count_bits(mine)), std::max(1, count_bits(all))};
}

// The node's cores divided by its ranks: right for bound ranks (disjoint masks), unbound ranks
// (equal masks) and containers (small masks).
int fair_threads(const Cores& cores, int local_size) {
  if (const char* wish = std::getenv("OMP_NUM_THREADS"); wish && std::atoi(wish) > 0)
    return std::atoi(wish);
  return std::clamp(cores.node / local_size, 1, cores.mine);
}

// A node goes by the lowest rank on it.
Placement place_ranks(MPI_Comm world, MPI_Comm node) {
  int rank = 0, size = 1, local_rank = 0;
  MPI_Comm_rank(world, &rank);
  MPI_Comm_size(world, &size);
  MPI_Comm_rank(node, &local_rank);
  int lowest = rank;
  MPI_Allreduce(&rank, &lowest, 1, MPI_INT, MPI_MIN, node);
  Placement places{std::vector<int>(static_cast<size_t>(size)),
                   std::vector<int>(static_cast<size_t>(size))};
  MPI_Allgather(&lowest, 1, MPI_INT, places.node.data(), 1, MPI_INT, world);
  MPI_Allgather(&local_rank, 1, MPI_INT, places.local_rank.data(), 1, MPI_INT, world);
  return places;
}

// Until MPI has told it, the launcher knows.
std::string early_prefix() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "SLURM_PROCID"})
    if (const char* rank = std::getenv(name)) return std::string("rank ") + rank + ": ";
  return "";
}

// Nobody has read a recipe yet. Seconds; a word that is no number counts as 0, which is never.
double start_timeout() {
  const char* wish = std::getenv("TESSERA_START_TIMEOUT");
  return wish == nullptr || *wish == '\0' ? 600 : std::max(0.0, std::atof(wish));
}

}  // namespace

struct World::Impl {
  std::unique_ptr<Communicator> over_mpi;  // all ranks; groups are agreed on over it
  std::unique_ptr<Transports> transports;
  std::unique_ptr<Communicator> all;
  int local_rank = 0;
  int local_size = 1;
};

World::World() : impl_(std::make_unique<Impl>()) {
  setenv("OMPI_MCA_mpi_yield_when_idle", "1", 0);
  setenv("OMPI_MCA_btl_base_warn_component_unused", "0", 0);
  log::set_prefix(early_prefix());
  const Section section(SectionKind::init, "", start_timeout(), "TESSERA_START_TIMEOUT");
  const Activity activity("MPI_Init", "with the other ranks");
  int provided = 0;
  check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided) == MPI_SUCCESS,
        ErrorKind::peer, "MPI_Init_thread failed");
  MPI_Comm world = MPI_COMM_NULL, node = MPI_COMM_NULL;
  MPI_Comm_dup(MPI_COMM_WORLD, &world);
  MPI_Comm_split_type(world, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
  MPI_Comm_rank(node, &impl_->local_rank);
  MPI_Comm_size(node, &impl_->local_size);
  const Cores cores = count_cores(node);
  set_cpu_threads(fair_threads(cores, impl_->local_size));
  Placement places = place_ranks(world, node);
  impl_->over_mpi = mpi_communicator(&world, "world");
  log::set_prefix(size() > 1 ? "rank " + std::to_string(rank()) + ": " : "");
  const auto neighbours = mpi_communicator(&node, "node");
  impl_->transports = std::make_unique<Transports>(*impl_->over_mpi, *neighbours, std::move(places),
                                                   cores.node < impl_->local_size);
  std::vector<int> everyone(static_cast<size_t>(size()));
  std::iota(everyone.begin(), everyone.end(), 0);
  impl_->all = group(everyone, "world");
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
  const Section section(SectionKind::finalize);
  const Activity activity("MPI_Finalize", "with the other ranks");
  impl_->all.reset();
  impl_->transports.reset();
  impl_->over_mpi.reset();
  MPI_Finalize();
}

int World::rank() const {
  return impl_->over_mpi->rank();
}
int World::size() const {
  return impl_->over_mpi->size();
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
  // Open MPI tells more after a comma, MPICH in further lines.
  std::string first = whole.substr(0, whole.find_first_of(",\n"));  // "Open MPI v4.1.4"
  if (const size_t v = first.find(" v"); v != std::string::npos) first.erase(v + 1, 1);
  return first;
}

std::unique_ptr<Communicator> World::mpi_group(const std::vector<int>& ranks,
                                               const std::string& label) {
  const auto mine = std::find(ranks.begin(), ranks.end(), rank());
  check(mine != ranks.end(), "World: my rank is not in the group", label);
  MPI_Comm comm = MPI_COMM_NULL;
  MPI_Comm_split(MPI_COMM_WORLD, ranks.front(), static_cast<int>(mine - ranks.begin()), &comm);
  return mpi_communicator(&comm, label);
}

std::unique_ptr<Communicator> World::group(const std::vector<int>& ranks,
                                           const std::string& label) {
  auto best = impl_->transports->best(mpi_group(ranks, label), ranks);
  if (ranks.size() == 1) return self_communicator(label);
  return best;
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
