// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/draft.h"

#include <exception>
#include <utility>

#include "checkpoint/layout.h"
#include "checkpoint/retention.h"
#include "kernels/base/log.h"

namespace tessera {

std::string Draft::new_name(int64_t step) {
  return kTemporaryPrefix + step_name(step) + "." + unique_suffix();
}

Draft::Draft(Storage& storage, std::string root, int64_t step, std::string name)
    : storage_(storage), root_(std::move(root)), step_(step), name_(std::move(name)) {}

std::string Draft::path() const {
  return root_ + "/" + name_;
}

std::string Draft::final_path() const {
  return root_ + "/" + step_name(step_);
}

void Draft::make() {
  make_directories(storage_, root_);
  sweep_remains(storage_, root_);
  storage_.make_directory(path());
}

void Draft::commit(const Manifest& manifest) {
  const std::string text = to_json(manifest);
  write_file(storage_, path() + "/" + kManifestName, text);
  storage_.sync_directory(path());
  std::string replaced;
  if (storage_.exists(final_path()))
    replaced = retire_checkpoint(storage_, root_, step_name(step_));
  storage_.rename(path(), final_path());
  renamed_ = true;
  storage_.sync_directory(root_);
  mark(commit_text(manifest, text));
  if (!replaced.empty()) sweep(root_ + "/" + replaced);
}

void Draft::mark(const std::string& text) {
  const std::string commit = final_path() + "/" + kCommitName;
  write_file(storage_, commit + ".tmp", text);
  storage_.rename(commit + ".tmp", commit);
  storage_.sync_directory(final_path());
}

void Draft::discard() noexcept {
  if (!renamed_) return sweep(path());
  try {
    sweep(root_ + "/" + retire_checkpoint(storage_, root_, step_name(step_)));
  } catch (const std::exception& error) {
    log::warn("a save failed and could not be undone:", error.what());
  }
}

void Draft::sweep(const std::string& directory) noexcept {
  try {
    if (storage_.exists(directory)) remove_directory(storage_, directory);
  } catch (const std::exception& error) {
    log::warn("remains of a checkpoint stay on disk until the next retention:", error.what());
  }
}

}  // namespace tessera
