// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/retention.h"

#include <algorithm>

#include "checkpoint/layout.h"
#include "checkpoint/reader.h"
#include "kernels/base/check.h"
#include "kernels/base/log.h"

namespace tessera {
namespace {

std::vector<int64_t> step_directories(Storage& storage, const std::string& root) {
  std::vector<int64_t> steps;
  if (!storage.exists(root)) return steps;
  for (const std::string& name : storage.list(root))
    if (const std::optional<int64_t> step = parse_step_name(name)) steps.push_back(*step);
  std::sort(steps.begin(), steps.end());
  return steps;
}

bool is_committed(Storage& storage, const std::string& directory) {
  try {
    read_committed_manifest(storage, directory);
    return true;
  } catch (const Error&) {
    return false;
  }
}

bool starts_with(const std::string& name, const char* prefix) {
  return name.rfind(prefix, 0) == 0;
}

}  // namespace

std::vector<int64_t> committed_steps(Storage& storage, const std::string& root) {
  std::vector<int64_t> steps = step_directories(storage, root);
  std::erase_if(steps,
                [&](int64_t step) { return !is_committed(storage, root + "/" + step_name(step)); });
  return steps;
}

NewestCheckpoint newest_valid(Storage& storage, const std::string& root,
                              const SearchOptions& options) {
  NewestCheckpoint newest;
  std::vector<int64_t> steps = step_directories(storage, root);
  std::erase_if(steps, [&](int64_t step) { return step >= options.before; });
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    const std::string directory = root + "/" + step_name(*step);
    try {
      CheckpointReader reader = CheckpointReader::open(storage, directory);
      if (options.verify_data) reader.verify_all();
      newest.step = *step;
      newest.directory = directory;
      return newest;
    } catch (const Error& error) {
      newest.passed_over.push_back({*step, error.what()});
    }
  }
  return newest;
}

std::string retire_checkpoint(Storage& storage, const std::string& root, const std::string& name) {
  const std::string directory = root + "/" + name;
  const std::string commit = directory + "/" + kCommitName;
  if (storage.exists(commit)) {
    storage.remove(commit);
    // Without this sync a power cut could bring COMMIT back after the data has gone.
    storage.sync_directory(directory);
  }
  const std::string trash = kTrashPrefix + name + "." + unique_suffix();
  storage.rename(directory, root + "/" + trash);
  storage.sync_directory(root);
  return trash;
}

void delete_checkpoint(Storage& storage, const std::string& root, const std::string& name) {
  remove_directory(storage, root + "/" + retire_checkpoint(storage, root, name));
}

int sweep_remains(Storage& storage, const std::string& root) {
  int swept = 0;
  const auto attempt = [](auto&& work) {
    try {
      work();
    } catch (const Error& error) {
      log::warn("the remains of a dead save or deletion stay on disk:", error.what());
    }
  };
  std::vector<std::string> names;
  attempt([&] { names = storage.list(root); });
  for (const std::string& name : names) {
    if (!starts_with(name, kTemporaryPrefix) && !starts_with(name, kTrashPrefix)) continue;
    attempt([&] {
      remove_directory(storage, root + "/" + name);
      ++swept;
    });
  }
  return swept;
}

RetentionReport apply_retention(Storage& storage, const std::string& root, const Keep& keep) {
  RetentionReport report;
  if (!storage.exists(root)) return report;
  report.swept = sweep_remains(storage, root);
  const std::vector<int64_t> committed = committed_steps(storage, root);
  const size_t last = static_cast<size_t>(std::max(keep.last, 1));
  for (size_t i = 0; i + last < committed.size(); ++i) {
    const int64_t step = committed[i];
    const bool kept = (keep.every > 0 && step % keep.every == 0) ||
                      std::count(keep.pinned.begin(), keep.pinned.end(), step) > 0;
    if (kept) continue;
    delete_checkpoint(storage, root, step_name(step));
    report.deleted.push_back(step);
  }
  for (const int64_t step : step_directories(storage, root)) {
    if (committed.empty() || step >= committed.back()) break;
    if (storage.exists(root + "/" + step_name(step) + "/" + kCommitName)) continue;
    delete_checkpoint(storage, root, step_name(step));
    ++report.swept;
  }
  return report;
}

}  // namespace tessera
