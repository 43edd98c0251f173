// SPDX-License-Identifier: Apache-2.0
// `tessera bench allreduce`: how fast all ranks sum a buffer, over what `train` would take and over
// MPI; on GPUs NCCL, and MPI through the host's memory.
#include <vector>

#include "kernels/copy.h"
#include "launch/bench/bench.h"
#include "launch/job/device_choice.h"
#include "parallel/transport/gpu_groups.h"
#include "parallel/world.h"

namespace tessera {
namespace {

constexpr double kPatience = 600;  // seconds within which all ranks must come

// Times every case once a round, after a barrier: every rank must run the same number of times.
void run_together(const World& world, Stream& stream, std::vector<BenchCase>& cases, int rounds) {
  for (int round = 0; round <= rounds; ++round)
    for (BenchCase& each : cases) {
      world.all().barrier();
      const double seconds = seconds_of(stream, each.run);
      if (round > 0) each.seconds.push_back(seconds);
    }
}

}  // namespace

int bench_all_reduce(const BenchCommand& command, DType dtype) {
  World world;
  const Device device =
      settle_device(world, command.device, resolve_device(command.device, world.local_rank()));
  Stream stream(device);
  const ProcessGrid grid = ProcessGrid::filling(world.size(), {});
  GpuGroups gpu_groups(world, kPatience);
  Communicators best(world, grid), mpi(world, grid, 1, Transport::mpi);
  gpu_groups.fit(best, device);
  gpu_groups.fit(mpi, device, Transport::mpi);
  std::vector<BenchCase> large, small;
  const auto reduce = [&](Communicator& all, int64_t bytes, int times) {
    const Tensor buffer(device, dtype, {bytes / size_of(dtype)}, MemoryClass::communication);
    fill(stream, 0, buffer);
    return [&stream, &all, buffer, times] {
      for (int i = 0; i < times; ++i) all.all_reduce(stream, buffer, buffer, Reduce::sum, "bench");
    };
  };
  constexpr int kTimes = 100;
  constexpr double kPerMillisecond = 1e6;  // of the giga that report() shows
  for (const Communicators* groups : {&best, &mpi}) {
    Communicator& all = groups->data();
    const auto title = [&](const std::string& size) {
      return size + ", " + std::to_string(world.size()) + " ranks, " + all.transport();
    };
    for (const int64_t mebibytes : {1, 16, 64})
      large.push_back({title(std::to_string(mebibytes) + " MiB"),
                       static_cast<double>(mebibytes << 20), reduce(all, mebibytes << 20, 1)});
    small.push_back({title("4 KiB"), kTimes * kPerMillisecond, reduce(all, 4 << 10, kTimes)});
  }
  run_together(world, stream, large, command.rounds);
  run_together(world, stream, small, command.rounds);
  if (world.rank() != 0) return 0;
  report(command, device, large, "GB/s");
  report(command, device, small, "calls/ms");
  return 0;
}

}  // namespace tessera
