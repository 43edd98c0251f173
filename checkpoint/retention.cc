// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/retention.h"

#include <algorithm>

#include "checkpoint/layout.h"
#include "checkpoint/patience.h"
#include "checkpoint/reader.h"
#include "kernels/base/check.h"
#include "kernels/base/log.h"

namespace tessera {
namespace {

bool is_of_line(const StepDirectory& directory) {
  return directory.in_line && directory.status == StepStatus::complete;
}

// The indexes and the sizes of all files, too: what a quick look does not see.
bool opens(Storage& storage, const std::string& directory) {
  try {
    CheckpointReader::open(storage, directory);
    return true;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::checkpoint) throw;
    log::warn(error.what(), "It does not count as a checkpoint, and is not deleted.");
    return false;
  }
}

std::vector<int64_t> steps_of_line(Storage& storage, const std::string& root,
                                   const std::vector<StepDirectory>& found, bool read_indexes) {
  std::vector<int64_t> steps;
  for (const StepDirectory& directory : found)
    if (is_of_line(directory) && (!read_indexes || opens(storage, root + "/" + directory.name)))
      steps.push_back(directory.step);
  return steps;
}

bool is_named(const Keep& keep, int64_t step) {
  return (keep.every > 0 && step % keep.every == 0) ||
         std::count(keep.pinned.begin(), keep.pinned.end(), step) > 0;
}

NewestCheckpoint search(Storage& storage, const std::string& root, const SearchOptions& options) {
  NewestCheckpoint newest;
  const std::vector<StepDirectory> found = survey(storage, root);
  for (auto directory = found.rbegin(); directory != found.rend(); ++directory) {
    if (directory->step >= options.before) continue;
    const std::string path = root + "/" + directory->name;
    const bool whole =
        directory->status == StepStatus::complete || directory->status == StepStatus::newer_format;
    if (!whole || !directory->in_line) {
      newest.passed_over.push_back(
          {directory->step,
           whole ? path + " was left behind when the run went back to an earlier step."
                 : directory->reason,
           quarantine_reason(*directory)});
      continue;
    }
    check(directory->status == StepStatus::complete, ErrorKind::checkpoint, directory->reason,
          "(it is the newest checkpoint of the run; --resume PATH of an older one goes back)");
    try {
      CheckpointReader reader = CheckpointReader::open(storage, path);
      if (options.verify_data) reader.verify_all();
      newest.step = directory->step;
      newest.directory = path;
      return newest;
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::checkpoint) throw;
      newest.passed_over.push_back({directory->step, error.what(), "damaged"});
    }
  }
  return newest;
}

}  // namespace

std::vector<int64_t> committed_steps(Storage& storage, const std::string& root) {
  return steps_of_line(storage, root, survey(storage, root), false);
}

NewestCheckpoint newest_valid(Storage& storage, const std::string& root,
                              const SearchOptions& options) {
  return patiently([&] { return search(storage, root, options); });
}

std::string retire_checkpoint(Storage& storage, const std::string& root, const std::string& name) {
  const std::string directory = root + "/" + name;
  const std::optional<int64_t> step = parse_step_name(name);
  check(step.has_value(), "retire_checkpoint: no step's name: " + name);
  if (storage.is_directory(directory))
    check_removable(directory, storage.list(directory), is_checkpoint_file);
  const std::string trash = trash_name(*step);
  storage.rename(directory, root + "/" + trash);
  storage.sync_directory(root);
  return trash;
}

void delete_checkpoint(Storage& storage, const std::string& root, const std::string& name) {
  storage.remove_directory(root + "/" + retire_checkpoint(storage, root, name), is_checkpoint_file,
                           kCommitName);
}

int sweep_remains(Storage& storage, const std::string& root, int64_t generation) {
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
    const std::optional<Remains> remains = parse_remains(name);
    if (!remains || remains->generation > generation) continue;
    attempt([&] {
      storage.remove_directory(root + "/" + name, is_checkpoint_file, kCommitName);
      ++swept;
    });
  }
  return swept;
}

RetentionReport apply_retention(Storage& storage, const std::string& root, const Keep& keep,
                                int64_t generation) {
  RetentionReport report;
  if (!storage.exists(root)) return report;
  report.swept = sweep_remains(storage, root, generation);
  const std::vector<StepDirectory> found = survey(storage, root);
  const std::vector<int64_t> line = steps_of_line(storage, root, found, keep.read_indexes);
  // A directory that cannot go must not keep the others from going.
  std::optional<Error> first;
  const auto attempt = [&](const std::string& name) {
    try {
      delete_checkpoint(storage, root, name);
      return true;
    } catch (const Error& error) {
      if (!first) first = error;
      return false;
    }
  };
  const int64_t going = std::ssize(line) - std::max<int64_t>(keep.last, 1);
  for (int64_t i = 0; i < going; ++i) {
    const int64_t step = line[static_cast<size_t>(i)];
    if (is_named(keep, step)) continue;
    if (attempt(step_name(step))) report.deleted.push_back(step);
  }
  for (const StepDirectory& directory : found) {
    // A job that was paused while another took over may still have finished its last save.
    if (directory.status == StepStatus::complete && !directory.in_line)
      report.set_aside.push_back(
          quarantine(storage, root, directory.name, quarantine_reason(directory)));
    const bool overtaken = !line.empty() && directory.step < line.back();
    if (directory.status == StepStatus::incomplete && overtaken && attempt(directory.name))
      ++report.swept;
  }
  if (first) throw Error(*first);
  return report;
}

int64_t make_room(Storage& storage, const std::string& root, const Keep& keep) {
  if (const int64_t freed = empty_quarantine(storage, root, "damaged"); freed > 0) return freed;
  const std::vector<int64_t> line = committed_steps(storage, root);
  for (size_t i = 0; i + 1 < line.size(); ++i) {
    if (is_named(keep, line[i])) continue;
    const std::string name = step_name(line[i]);
    const int64_t bytes = directory_bytes(storage, root + "/" + name);
    delete_checkpoint(storage, root, name);
    return bytes;
  }
  return 0;
}

}  // namespace tessera
