// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/index_pack.h"

#include <cstring>
#include <type_traits>

#include "kernels/base/check.h"

namespace tessera {
namespace {

class Packer {
 public:
  template <typename T>
  void put(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  template <typename T>
  void put_list(const T& list) {
    put(static_cast<uint32_t>(list.size()));
    bytes_.append(reinterpret_cast<const char*>(list.data()),
                  list.size() * sizeof(typename T::value_type));
  }
  std::string take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

class Unpacker {
 public:
  explicit Unpacker(const std::string& bytes) : bytes_(bytes) {}
  template <typename T>
  void take(T& value) {
    copy(&value, sizeof value);
  }
  template <typename T>
  void take_list(T& list) {
    uint32_t count = 0;
    take(count);
    list.resize(count);
    copy(list.data(), count * sizeof(typename T::value_type));
  }
  bool done() const { return at_ == bytes_.size(); }

 private:
  void copy(void* to, size_t count) {
    check(count <= bytes_.size() - at_, "checkpoint: a packed index ends early");
    if (count > 0) std::memcpy(to, bytes_.data() + at_, count);
    at_ += count;
  }
  const std::string& bytes_;
  size_t at_ = 0;
};

// One list of fields for both directions; `box` is const when packing.
template <typename Stream, typename Stored>
void each_field(Stream& stream, Stored& box) {
  stream.list(box.name);
  stream.list(box.role);
  stream.value(box.dtype);
  stream.list(box.global_shape);
  stream.list(box.box.offset);
  stream.list(box.box.extent);
  stream.value(box.at);
  stream.value(box.bytes);
  stream.value(box.crc);
  stream.list(box.block_crcs);
}

struct Out {
  Packer& packer;
  template <typename T>
  void value(const T& x) {
    packer.put(x);
  }
  template <typename T>
  void list(const T& x) {
    packer.put_list(x);
  }
};
struct In {
  Unpacker& unpacker;
  template <typename T>
  void value(T& x) {
    unpacker.take(x);
  }
  template <typename T>
  void list(T& x) {
    unpacker.take_list(x);
  }
};

}  // namespace

std::string pack_indexes(const std::vector<ShardIndex>& indexes) {
  Packer packer;
  Out out{packer};
  for (const ShardIndex& index : indexes) {
    packer.put(index.writer);
    packer.put(index.file_bytes);
    packer.put(index.skeleton_crc);
    packer.put(static_cast<uint32_t>(index.boxes.size()));
    for (const StoredBox& box : index.boxes) each_field(out, box);
  }
  return packer.take();
}

std::vector<ShardIndex> unpack_indexes(const std::string& bytes) {
  std::vector<ShardIndex> indexes;
  Unpacker unpacker(bytes);
  In in{unpacker};
  while (!unpacker.done()) {
    ShardIndex index;
    unpacker.take(index.writer);
    unpacker.take(index.file_bytes);
    unpacker.take(index.skeleton_crc);
    uint32_t count = 0;
    unpacker.take(count);
    index.boxes.resize(count);
    for (StoredBox& box : index.boxes) each_field(in, box);
    indexes.push_back(std::move(index));
  }
  return indexes;
}

}  // namespace tessera
