// SPDX-License-Identifier: Apache-2.0
// A checkpoint in the making: a temporary directory in `root` that shards are written into, and the
// steps by which it becomes step-NNNNNNNN at one instant. Without communication: of the ranks of a
// save all know where it is, and one makes, commits or discards it. Errors are the storage's.
#pragma once

#include <cstdint>
#include <string>

#include "checkpoint/manifest.h"
#include "checkpoint/storage.h"

namespace tessera {

class Draft {
 public:
  // A name of its own, so that no two saves ever meet in one directory.
  static std::string new_name(int64_t step);

  // `name` from new_name(step). Nothing is touched yet.
  Draft(Storage& storage, std::string root, int64_t step, std::string name);

  std::string path() const;        // where shards go
  std::string final_path() const;  // root/step-NNNNNNNN

  // Makes the directory, after removing the remains of saves that died in `root`.
  void make();
  // REQUIRES every shard and index in path(), durable. Manifest, rename, COMMIT; a step that exists
  // already is replaced. When it returns, the checkpoint is durable and complete.
  void commit(const Manifest& manifest);
  // Undoes all of it, as far as the storage still allows; what stays behind is no checkpoint.
  void discard() noexcept;

 private:
  void mark(const std::string& text);
  void sweep(const std::string& directory) noexcept;

  Storage& storage_;
  std::string root_;
  int64_t step_;
  std::string name_;
  bool renamed_ = false;
};

}  // namespace tessera
