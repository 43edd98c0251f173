// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/index.h"

#include <nlohmann/json.hpp>

#include "checkpoint/checksum.h"
#include "checkpoint/json.h"
#include "checkpoint/layout.h"
#include "checkpoint/state.h"
#include "kernels/base/check.h"

namespace tessera {
namespace {

using nlohmann::json;

constexpr int64_t kMostWriters = 1 << 24;

// Not check(): thousands of writers have hundreds of thousands of boxes, and each would put
// together a dozen sentences that nobody reads.
[[noreturn]] void damaged(const std::string& where, const std::string& what) {
  fail(ErrorKind::checkpoint, where + ": " + what);
}

std::string to_line(const StoredBox& stored) {
  std::string blocks;
  for (const uint32_t crc : stored.block_crcs) blocks += hex(crc);
  return "{\"name\":" + quoted(stored.name) + ",\"role\":" + quoted(stored.role) + ",\"dtype\":\"" +
         name(stored.dtype) + "\",\"shape\":" + list_text(stored.global_shape) +
         ",\"offset\":" + list_text(stored.box.offset) +
         ",\"extent\":" + list_text(stored.box.extent) + ",\"at\":" + std::to_string(stored.at) +
         ",\"bytes\":" + std::to_string(stored.bytes) + ",\"crc32c\":\"" + hex(stored.crc) +
         "\",\"blocks\":\"" + blocks + "\"}";
}

// The number of bytes of the box; every product is checked, because the file may be hostile.
int64_t checked_bytes(const StoredBox& stored, const std::string& where) {
  int64_t global = size_of(stored.dtype), bytes = global;
  bool good = true;
  for (size_t dim = 0; dim < stored.global_shape.size(); ++dim) {
    const int64_t extent = stored.box.extent[dim];
    good = good && extent > 0 && extent <= stored.global_shape[dim] &&
           stored.box.offset[dim] <= stored.global_shape[dim] - extent &&
           !__builtin_mul_overflow(global, stored.global_shape[dim], &global) &&
           !__builtin_mul_overflow(bytes, extent, &bytes);
  }
  // Not to_string(box): the sums in it may overflow.
  if (!good)
    damaged(where, "is damaged: the box at " + list_text(stored.box.offset) + " of extent " +
                       list_text(stored.box.extent) + " does not lie in a tensor of shape " +
                       list_text(stored.global_shape));
  return bytes;
}

StoredBox parse_box(const json& line, int64_t file_bytes, const std::string& where) {
  StoredBox stored;
  stored.name = text_member(line, "name", where);
  if (!is_valid_tensor_name(stored.name))
    damaged(where, "is damaged: a tensor's name is not allowed");
  const std::string here = where + ": tensor " + stored.name;
  stored.role = text_member(line, "role", here);
  if (!is_valid_role(stored.role)) damaged(here, "the role is not allowed");
  const auto dtype = dtype_named(text_member(line, "dtype", here));
  if (!dtype) damaged(here, "this Tessera knows no such dtype");
  stored.dtype = *dtype;
  stored.global_shape = list_member(line, "shape", kMaxTensorDims, here);
  stored.box.offset = list_member(line, "offset", kMaxTensorDims, here);
  stored.box.extent = list_member(line, "extent", kMaxTensorDims, here);
  const size_t dims = stored.global_shape.size();
  if (dims < 1 || stored.box.offset.size() != dims || stored.box.extent.size() != dims)
    damaged(here, "shape, offset and extent differ in length");
  stored.bytes = checked_bytes(stored, here);
  if (integer_member(line, "bytes", 1, file_bytes, here) != stored.bytes)
    damaged(here, "`bytes` does not fit the box");
  stored.at = integer_member(line, "at", 0, file_bytes - stored.bytes, here);
  stored.crc = crc_member(line, "crc32c", here);
  const std::string blocks = text_member(line, "blocks", here);
  if (static_cast<int64_t>(blocks.size()) != 8 * num_blocks(stored.bytes))
    damaged(here, "`blocks` needs eight hex digits for each MiB");
  stored.block_crcs.reserve(blocks.size() / 8);
  for (size_t at = 0; at < blocks.size(); at += 8)
    stored.block_crcs.push_back(parse_crc(std::string_view(blocks).substr(at, 8), "blocks", here));
  return stored;
}

}  // namespace

std::string to_json(const ShardIndex& index) {
  std::string text =
      "{\"format\":\"tessera-shard-index\",\"version\":" + std::to_string(kFormatVersion) +
      ",\"writer\":" + std::to_string(index.writer) +
      ",\"file_bytes\":" + std::to_string(index.file_bytes) + ",\"skeleton_crc32c\":\"" +
      hex(index.skeleton_crc) + "\",\"tensors\":[\n";
  for (size_t i = 0; i < index.boxes.size(); ++i)
    text += to_line(index.boxes[i]) + (i + 1 < index.boxes.size() ? ",\n" : "\n");
  return text + "]}\n";
}

ShardIndex parse_index(const std::string& text, const std::string& where) {
  const json root = parse_json(text, where);
  check(text_member(root, "format", where) == "tessera-shard-index", ErrorKind::checkpoint,
        where + ": is damaged: not a shard index");
  integer_member(root, "version", kFormatVersion, kFormatVersion, where);
  ShardIndex index;
  index.writer = static_cast<int>(integer_member(root, "writer", 0, kMostWriters, where));
  index.file_bytes = integer_member(root, "file_bytes", 0, INT64_MAX, where);
  index.skeleton_crc = crc_member(root, "skeleton_crc32c", where);
  const json& tensors = member(root, "tensors", where);
  check(tensors.is_array(), ErrorKind::checkpoint, where + ": `tensors` must be a list");
  int64_t end = 0;
  for (const json& line : tensors) {
    index.boxes.push_back(parse_box(line, index.file_bytes, where));
    if (index.boxes.back().at < end)
      damaged(where,
              "is damaged: tensor " + index.boxes.back().name + " overlaps another in the file");
    end = index.boxes.back().at + index.boxes.back().bytes;
  }
  return index;
}

}  // namespace tessera
