// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/line.h"

#include <algorithm>

#include "checkpoint/layout.h"
#include "checkpoint/lease.h"
#include "checkpoint/reader.h"
#include "kernels/base/check.h"

namespace tessera {
namespace {

StepDirectory look_at(Storage& storage, const std::string& root, const std::string& name) {
  StepDirectory found;
  found.name = name;
  found.step = *parse_step_name(name);
  const std::string path = root + "/" + name;
  if (!storage.is_directory(path)) {
    found.status = StepStatus::misplaced;
    found.reason = path + " is a link or a file, not a checkpoint of this directory";
    return found;
  }
  try {
    const Manifest manifest = read_committed_manifest(storage, path);
    found.generation = manifest.generation;
    found.base = manifest.base;
    if (manifest.step != found.step) {
      found.status = StepStatus::misplaced;
      found.reason = path + ": its manifest is of step " + std::to_string(manifest.step) +
                     "; give the directory its right name";
    }
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::checkpoint) throw;
    found.reason = error.what();
    found.status = StepStatus::damaged;
    if (const auto head = head_of_newer_format(storage, path)) {
      found.status = StepStatus::newer_format;
      found.generation = head->generation;
      found.base = head->base;
    } else if (!storage.exists(path + "/" + kCommitName)) {
      found.status = StepStatus::incomplete;
    }
  }
  return found;
}

// Jobs that decided where they go on from.
struct Decision {
  int64_t generation, base;
};

bool left_behind(const StepDirectory& directory, const std::vector<Decision>& decisions) {
  return std::any_of(decisions.begin(), decisions.end(), [&](const Decision& later) {
    return later.generation > directory.generation && directory.step > later.base;
  });
}

std::string quarantine_of(const std::string& root) {
  return root + "/" + kQuarantineName;
}

}  // namespace

std::vector<StepDirectory> survey(Storage& storage, const std::string& root) {
  std::vector<StepDirectory> found;
  if (!storage.exists(root)) return found;
  std::vector<Decision> decisions;
  if (const auto lease = newest_lease(storage, root); lease && lease->line > 0)
    decisions.push_back({lease->line, lease->base});
  for (const std::string& name : storage.list(root)) {
    if (!parse_step_name(name)) continue;
    found.push_back(look_at(storage, root, name));
    const StepDirectory& last = found.back();
    const bool tells =
        last.status == StepStatus::complete || last.status == StepStatus::newer_format;
    if (tells && last.generation > 0) decisions.push_back({last.generation, last.base});
  }
  for (StepDirectory& directory : found)
    directory.in_line = (directory.status == StepStatus::complete ||
                         directory.status == StepStatus::newer_format) &&
                        !left_behind(directory, decisions);
  std::sort(found.begin(), found.end(),
            [](const StepDirectory& a, const StepDirectory& b) { return a.step < b.step; });
  return found;
}

std::string quarantine_reason(const StepDirectory& directory) {
  switch (directory.status) {
    case StepStatus::complete: return "abandoned";
    case StepStatus::incomplete: return "incomplete";
    case StepStatus::damaged: return "damaged";
    case StepStatus::newer_format: return "newer-format";
    case StepStatus::misplaced: return "misplaced";
  }
  return "abandoned";
}

Quarantined quarantine(Storage& storage, const std::string& root, const std::string& name,
                       const std::string& reason) {
  const std::string room = quarantine_of(root);
  if (!storage.exists(room)) {
    storage.make_directory(room);
    storage.sync_directory(root);
  }
  check(storage.is_directory(room), ErrorKind::storage,
        room + ": is not a directory, so nothing can be set aside there; remove it");
  const std::string wanted = room + "/" + name + "." + reason;
  Quarantined moved{root + "/" + name, wanted, 0};
  for (int64_t number = 2; storage.exists(moved.to); ++number)
    moved.to = wanted + "." + std::to_string(number);
  if (storage.is_directory(moved.from)) moved.bytes = directory_bytes(storage, moved.from);
  storage.rename(moved.from, moved.to);
  // The new name first: a power cut between the two may show both, never none.
  storage.sync_directory(room);
  storage.sync_directory(root);
  return moved;
}

std::vector<Quarantined> set_line(Storage& storage, const std::string& root, int64_t base,
                                  const std::vector<int64_t>& damaged) {
  std::vector<Quarantined> moved;
  for (StepDirectory& directory : survey(storage, root)) {
    const bool bad = std::find(damaged.begin(), damaged.end(), directory.step) != damaged.end();
    const bool overtaken = directory.status == StepStatus::incomplete && directory.step < base;
    if (overtaken) continue;  // retention removes it
    if (directory.in_line && directory.step <= base && !bad) continue;
    if (bad && directory.status == StepStatus::complete) directory.status = StepStatus::damaged;
    moved.push_back(quarantine(storage, root, directory.name, quarantine_reason(directory)));
  }
  return moved;
}

QuarantineContent quarantine_content(Storage& storage, const std::string& root) {
  QuarantineContent content;
  const std::string room = quarantine_of(root);
  if (!storage.is_directory(room)) return content;
  for (const std::string& name : storage.list(room)) {
    if (!parse_quarantine_name(name)) continue;
    content.names.push_back(name);
    if (storage.is_directory(room + "/" + name))
      content.bytes += directory_bytes(storage, room + "/" + name);
  }
  return content;
}

int64_t empty_quarantine(Storage& storage, const std::string& root, const std::string& reason) {
  int64_t freed = 0;
  const std::string room = quarantine_of(root);
  for (const std::string& name : quarantine_content(storage, root).names) {
    if (name.find("." + reason) == std::string::npos) continue;
    const std::string path = room + "/" + name;
    const int64_t bytes = storage.is_directory(path) ? directory_bytes(storage, path) : 0;
    storage.remove_directory(path, is_checkpoint_file, kCommitName);
    freed += bytes;
  }
  return freed;
}

}  // namespace tessera
