// SPDX-License-Identifier: Apache-2.0
// States to save and load in tests: every element's bytes follow from its global index, so that any
// box, loaded in any layout, can be checked without what was saved.
#pragma once

#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "checkpoint/checksum.h"
#include "checkpoint/state.h"
#include "checkpoint/writer.h"
#include "tests/support/temporary.h"

namespace tessera {

// The bytes of element `index` of a tensor: any bit pattern may appear, NaN among them.
inline uint64_t element_bits(const std::string& name, int64_t index) {
  const uint64_t seed = crc32c(name);
  return (seed << 32 | seed) ^ (static_cast<uint64_t>(index) * 0x9e3779b97f4a7c15u);
}

// Calls visit(position in the box, index in the global tensor) for each element of the box.
template <typename Visit>
void each_element(const ShardSpec& shard, Visit&& visit) {
  for (int64_t position = 0; position < shard.box.size(); ++position) {
    int64_t rest = position, index = 0, stride = 1;
    for (size_t dim = shard.global_shape.size(); dim-- > 0;) {
      index += (shard.box.offset[dim] + rest % shard.box.extent[dim]) * stride;
      rest /= shard.box.extent[dim];
      stride *= shard.global_shape[dim];
    }
    visit(position, index);
  }
}

inline StateEntry blank_entry(const std::string& name, const std::string& role, DType dtype,
                              const ShardSpec& shard) {
  const Tensor tensor(Device{}, dtype, {shard.box.size()});
  std::memset(tensor.data(), 0x5a, static_cast<size_t>(tensor.bytes()));
  return {name, role, tensor, shard, true};
}

// `salt` makes another content: that of another step, say.
inline StateEntry salted_entry(const std::string& name, const std::string& role, DType dtype,
                               const ShardSpec& shard, const std::string& salt) {
  StateEntry entry = blank_entry(name, role, dtype, shard);
  auto* bytes = static_cast<char*>(entry.tensor.data());
  const auto width = static_cast<size_t>(size_of(dtype));
  each_element(shard, [&](int64_t position, int64_t index) {
    const uint64_t bits = element_bits(role + name + salt, index);
    std::memcpy(bytes + static_cast<size_t>(position) * width, &bits, width);
  });
  return entry;
}

inline StateEntry filled_entry(const std::string& name, const std::string& role, DType dtype,
                               const ShardSpec& shard) {
  return salted_entry(name, role, dtype, shard, "");
}

// Number of elements that are not what filled_entry() or salted_entry() puts there.
inline int64_t wrong_elements(const StateEntry& entry, const std::string& salt = "") {
  int64_t wrong = 0;
  const auto* bytes = static_cast<const char*>(entry.tensor.data());
  const auto width = static_cast<size_t>(size_of(entry.tensor.dtype()));
  each_element(entry.shard, [&](int64_t position, int64_t index) {
    const uint64_t bits = element_bits(entry.role + entry.name + salt, index);
    wrong += std::memcmp(bytes + static_cast<size_t>(position) * width, &bits, width) != 0;
  });
  return wrong;
}

inline SaveInfo save_info(int64_t step) {
  return {"run-0123", step, "data 1 x tensor 1", "model:\n  layers: 2  # a comment\n"};
}

}  // namespace tessera
