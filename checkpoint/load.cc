// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/load.h"

#include <algorithm>
#include <chrono>

#include "checkpoint/json.h"
#include "checkpoint/patience.h"
#include "checkpoint/together.h"
#include "kernels/base/check.h"
#include "kernels/transfer.h"

namespace tessera {
namespace {

using Clock = std::chrono::steady_clock;
constexpr size_t kMostNamed = 5;  // tensors in one message

std::string label(const std::string& name, const std::string& role) {
  return name + " (" + role + ")";
}

std::string some_of(const std::vector<std::string>& labels) {
  std::string text = std::to_string(labels.size()) + ": ";
  for (size_t i = 0; i < std::min(labels.size(), kMostNamed); ++i)
    text += (i ? ", " : "") + labels[i];
  return text + (labels.size() > kMostNamed ? ", ..." : "");
}

bool wanted_role(const LoadOptions& options, const std::string& role) {
  return options.roles.empty() ||
         std::find(options.roles.begin(), options.roles.end(), role) != options.roles.end();
}

// Which of the checkpoint's tensors some rank asks for: every rank has the same list of tensors, so
// a flag for each is all that must travel.
std::vector<std::string> find_unexpected(Communicator& world, const CheckpointReader& reader,
                                         const State& state, const LoadOptions& options) {
  std::vector<std::string> unexpected;
  const std::vector<GlobalTensor>& tensors = reader.tensors();
  if (tensors.empty()) return unexpected;
  Stream host(Device{});
  const Tensor asked(Device{}, DType::i64, {static_cast<int64_t>(tensors.size())},
                     MemoryClass::communication);
  int64_t* flags = asked.as<int64_t>();
  std::fill(flags, flags + tensors.size(), int64_t{0});
  for (const StateEntry& entry : state.entries)
    if (const GlobalTensor* found = reader.find(entry.name, entry.role))
      flags[found - tensors.data()] = 1;
  world.all_reduce(host, asked, asked, Reduce::max, "checkpoint tensors");
  for (size_t i = 0; i < tensors.size(); ++i)
    if (flags[i] == 0 && wanted_role(options, tensors[i].role))
      unexpected.push_back(label(tensors[i].name, tensors[i].role));
  return unexpected;
}

// This rank's entries that are there, in the order in which the shards hold them best: as given.
std::vector<const StateEntry*> match(const CheckpointReader& reader, const State& state,
                                     const LoadOptions& options, LoadReport& report) {
  std::vector<const StateEntry*> found;
  for (const StateEntry& entry : state.entries) {
    if (!wanted_role(options, entry.role)) continue;
    validate(entry);
    const GlobalTensor* tensor = reader.find(entry.name, entry.role);
    // A tensor without elements is nobody's to store.
    if (tensor == nullptr && entry.shard.box.empty()) continue;
    if (tensor == nullptr) {
      report.missing.push_back(label(entry.name, entry.role));
      continue;
    }
    check(tensor->global_shape == entry.shard.global_shape, ErrorKind::usage,
          reader.directory() + ": tensor", label(entry.name, entry.role), "has the shape",
          list_text(tensor->global_shape), "but the model wants",
          list_text(entry.shard.global_shape));
    if (!entry.shard.box.empty()) found.push_back(&entry);
  }
  check(report.missing.empty() || options.allow_missing, ErrorKind::usage,
        reader.directory() + ": lacks tensors of the model,", some_of(report.missing));
  check(report.unexpected.empty() || options.allow_unexpected, ErrorKind::usage,
        reader.directory() + ": holds tensors that the model has not,", some_of(report.unexpected));
  return found;
}

LoadReport report_of(const CheckpointReader& reader) {
  LoadReport report;
  report.directory = reader.directory();
  report.step = reader.manifest().step;
  return report;
}

void read(CheckpointReader& reader, const std::vector<const StateEntry*>& entries) {
  for (const StateEntry* entry : entries) {
    Stream stream(entry->tensor.device());
    write_from_host(stream, entry->tensor, [&](const Tensor& out) {
      reader.read(entry->name, entry->role, entry->shard.box, out);
    });
  }
}

void finish(const CheckpointReader& reader, const LoadOptions& options, State& state,
            LoadReport& report, Clock::time_point start) {
  if (options.roles.empty()) state.scalars = reader.scalars();
  report.bytes = reader.bytes_read();
  report.seconds = std::chrono::duration<double>(Clock::now() - start).count();
}

std::string newest_passed_over(const std::vector<PassedOver>& passed_over) {
  std::string text;
  for (const PassedOver& one : passed_over) text += "\n  " + one.reason;
  return text;
}

}  // namespace

LoadReport load_checkpoint(Storage& storage, Communicator& world, const std::string& directory,
                           State& state, const LoadOptions& options) {
  const auto start = Clock::now();
  CheckpointReader reader = CheckpointReader::open(storage, world, directory);
  if (options.accept)
    together(world, "checkpoint accept", [&] {
      if (world.rank() == 0) options.accept(reader);
    });
  LoadReport report = report_of(reader);
  report.unexpected = find_unexpected(world, reader, state, options);
  std::vector<const StateEntry*> entries;
  together(world, "checkpoint match", [&] { entries = match(reader, state, options, report); });
  together(world, "checkpoint read", [&] { read(reader, entries); });
  finish(reader, options, state, report, start);
  return report;
}

LoadReport load_entries(CheckpointReader& reader, State& state, const LoadOptions& options) {
  const auto start = Clock::now();
  const int64_t read_before = reader.bytes_read();
  LoadReport report = report_of(reader);
  read(reader, match(reader, state, options, report));
  finish(reader, options, state, report, start);
  report.bytes -= read_before;
  return report;
}

std::optional<LoadReport> load_newest(Storage& storage, Communicator& world,
                                      const std::string& root, State& state,
                                      const LoadOptions& options) {
  std::vector<PassedOver> passed_over;
  SearchOptions search;
  for (;;) {
    // Rank 0 looks, so that all ranks try the same one.
    NewestCheckpoint newest;
    together(world, "checkpoint search", [&] {
      if (world.rank() == 0) newest = newest_valid(storage, root, search);
    });
    passed_over.insert(passed_over.end(), newest.passed_over.begin(), newest.passed_over.end());
    const std::string directory = world.broadcast(newest.directory, 0, "checkpoint search");
    const int64_t step = world.all_reduce(newest.step.value_or(-1), Reduce::max, "checkpoint step");
    if (step < 0) {
      const int64_t failures =
          world.all_reduce(static_cast<int64_t>(passed_over.size()), Reduce::max, "checkpoint");
      if (failures == 0) return std::nullopt;
      const std::string reasons =
          world.broadcast(newest_passed_over(passed_over), 0, "checkpoint reasons");
      fail(ErrorKind::checkpoint, root + ": no checkpoint here is sound:" + reasons);
    }
    try {
      LoadReport report =
          patiently([&] { return load_checkpoint(storage, world, directory, state, options); });
      report.passed_over = passed_over;
      return report;
    } catch (const Error& error) {
      // The same Error on every rank, so every rank goes on to the next older one, or none does.
      if (error.kind() != ErrorKind::checkpoint) throw;
      passed_over.push_back({step, error.what(), "damaged"});
      search.before = step;
    }
  }
}

}  // namespace tessera
