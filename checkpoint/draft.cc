// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/draft.h"

#include <exception>
#include <utility>

#include "checkpoint/layout.h"
#include "checkpoint/line.h"
#include "checkpoint/reader.h"
#include "checkpoint/retention.h"
#include "kernels/base/check.h"
#include "kernels/base/log.h"

namespace tessera {

Draft::Draft(Storage& storage, std::string root, int64_t step, int64_t generation, std::string name,
             Fence fence)
    : storage_(storage),
      root_(std::move(root)),
      step_(step),
      generation_(generation),
      name_(std::move(name)),
      fence_(fence ? std::move(fence) : [] {}) {}

std::string Draft::path() const {
  return root_ + "/" + name_;
}

std::string Draft::final_path() const {
  return root_ + "/" + step_name(step_);
}

void Draft::make() {
  make_directories(storage_, root_);
  sweep_remains(storage_, root_, generation_);
  storage_.make_directory(path());
}

// The bytes are durable before any name shows them, and every rename is durable before the next.
// The fence is asked as late as possible; a job that is paused after it and overtaken then finds
// the other's directory in its way, or commits with a generation that is not of the line any more.
void Draft::commit(const Manifest& manifest) {
  const std::string text = to_json(manifest);
  write_file(storage_, path() + "/" + kManifestName, text);
  storage_.sync_directory(path());
  fence_();
  const std::string replaced = make_way();
  try {
    storage_.rename(path(), final_path());
  } catch (const Error&) {
    fence_();  // a job that has taken over swept this draft, or has saved the step itself
    throw;
  }
  renamed_ = true;
  storage_.sync_directory(root_);
  try {
    fence_();
  } catch (const Error&) {
    overtaken_ = true;  // whatever stands there now is the other job's to judge
    throw;
  }
  mark(commit_text(manifest, text));
  if (!replaced.empty()) sweep(root_ + "/" + replaced);
}

// Frees the final name. The trash directory in which the earlier save of this step is, if there was
// one.
std::string Draft::make_way() {
  if (!storage_.exists(final_path())) return {};
  int64_t theirs = 0;
  try {
    theirs = read_committed_manifest(storage_, final_path()).generation;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::checkpoint) throw;
    theirs = -1;  // no checkpoint, but perhaps the only trace of one
  }
  check(theirs <= generation_, ErrorKind::busy,
        final_path() + " was saved by a newer job, of generation", theirs);
  if (theirs == generation_) return retire_checkpoint(storage_, root_, step_name(step_));
  quarantine(storage_, root_, step_name(step_), theirs < 0 ? "incomplete" : "abandoned");
  return {};
}

void Draft::mark(const std::string& text) {
  const std::string commit = final_path() + "/" + kCommitName;
  write_file(storage_, commit + ".tmp", text);
  storage_.rename(commit + ".tmp", commit);
  storage_.sync_directory(final_path());
}

void Draft::discard() noexcept {
  if (overtaken_) return;
  if (!renamed_) return sweep(path());
  try {
    sweep(root_ + "/" + retire_checkpoint(storage_, root_, step_name(step_)));
  } catch (const std::exception& error) {
    log::warn("a save failed and could not be undone:", error.what());
  }
}

void Draft::sweep(const std::string& directory) noexcept {
  try {
    if (storage_.exists(directory))
      storage_.remove_directory(directory, is_checkpoint_file, kCommitName);
  } catch (const std::exception& error) {
    log::warn("remains of a checkpoint stay on disk until the next retention:", error.what());
  }
}

}  // namespace tessera
