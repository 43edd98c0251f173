// SPDX-License-Identifier: Apache-2.0
// All that is ever saved: named boxes of global tensors, and a few small replicated values. This
// room does not know what the names mean; nothing is saved by walking objects.
//
// A tensor is known by (role, name): "param" and "exp_avg" of one weight are two tensors with two
// dtypes. Names describe the model, never the layout: layer numbers are global, no rank appears.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/base/tensor.h"
#include "parallel/shard.h"

namespace tessera {

struct StateEntry {
  std::string name;   // "model.layers.0.mlp.up_proj.weight"; see is_valid_tensor_name
  std::string role;   // "param", "master", "exp_avg", "exp_avg_sq", ...; see is_valid_role
  Tensor tensor;      // contiguous, shard.box.size() elements in row-major order
  ShardSpec shard;    // the box of the global tensor that `tensor` holds
  bool owner = true;  // this rank writes the box (of replicas exactly one is owner); loading fills
                      // the entry on every rank
};

struct State {
  std::vector<StateEntry> entries;
  std::map<std::string, std::string> scalars;  // step, cursor, loss scale ...: equal on all ranks
};

inline constexpr size_t kMaxNameLength = 512;
inline constexpr size_t kMaxRoleLength = 32;
inline constexpr size_t kMaxTensorDims = 8;

// [A-Za-z0-9_.-] in components between single '/'; no empty, "." or ".." component, no leading or
// trailing '/', 1 to kMaxNameLength bytes.
bool is_valid_tensor_name(std::string_view name);
bool is_valid_role(std::string_view role);  // [a-z0-9_], 1 to kMaxRoleLength bytes

// Throws Error{internal} for an entry that breaks what is written above: the caller's bug.
void validate(const StateEntry& entry);

}  // namespace tessera
