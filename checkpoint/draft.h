// SPDX-License-Identifier: Apache-2.0
// A checkpoint in the making: a temporary directory in `root` that shards are written into, and the
// steps by which it becomes step-NNNNNNNN at one instant. Without communication: of the ranks of a
// save all know where it is, and one makes, commits or discards it. Errors are the storage's.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "checkpoint/manifest.h"
#include "checkpoint/storage.h"

namespace tessera {

class Draft {
 public:
  // Throws Error{busy} when another job has taken over the directory.
  using Fence = std::function<void()>;

  // `name` from temporary_name(step, generation), so that no two saves ever meet in one directory.
  // `fence` is asked right before each rename that others see. Nothing is touched yet.
  Draft(Storage& storage, std::string root, int64_t step, int64_t generation, std::string name,
        Fence fence = {});

  std::string path() const;        // where shards go
  std::string final_path() const;  // root/step-NNNNNNNN

  // Makes the directory, after removing the remains of saves that died in `root`.
  void make();
  // REQUIRES every shard and index in path(), durable. Manifest, rename, COMMIT. What stands there
  // as this step already is replaced when this generation saved it, else it is set aside (line.h).
  // When it returns, the checkpoint is durable and complete.
  void commit(const Manifest& manifest);
  // Undoes all of it, as far as the storage still allows; what stays behind is no checkpoint.
  void discard() noexcept;

 private:
  std::string make_way();
  void mark(const std::string& text);
  void sweep(const std::string& directory) noexcept;

  Storage& storage_;
  std::string root_;
  int64_t step_;
  int64_t generation_;
  std::string name_;
  Fence fence_;
  bool renamed_ = false;
  bool overtaken_ = false;  // by another job, after the rename
};

}  // namespace tessera
