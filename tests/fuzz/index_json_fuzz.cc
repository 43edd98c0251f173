// SPDX-License-Identifier: Apache-2.0
// Any bytes as a shard's index: refused with Error{checkpoint}, or an index that keeps every
// promise of checkpoint/index.h and survives being written and read again.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "checkpoint/index.h"
#include "checkpoint/index_pack.h"
#include "checkpoint/shard_map.h"
#include "kernels/base/check.h"

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tessera;
  const std::string text(reinterpret_cast<const char*>(data), size);
  ShardIndex index;
  try {
    index = parse_index(text, "index");
  } catch (const Error& error) {
    require(error.kind() == ErrorKind::checkpoint);
    return 0;
  }
  int64_t end = 0;
  for (const StoredBox& box : index.boxes) {
    require(box.at >= end && box.bytes > 0 && box.bytes <= index.file_bytes - box.at);
    require(box.bytes == box.box.size() * size_of(box.dtype));
    require(static_cast<int64_t>(box.block_crcs.size()) == num_blocks(box.bytes));
    end = box.at + box.bytes;
  }
  const std::string written = to_json(index);
  require(to_json(parse_index(written, "written")) == written);
  require(to_json(unpack_indexes(pack_indexes({index})).at(0)) == written);
  ShardMap({index, index}).faults();
  return 0;
}
