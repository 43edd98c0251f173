// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/shard_writer.h"

#include <algorithm>
#include <map>
#include <utility>

#include "checkpoint/checksum.h"
#include "checkpoint/finite.h"
#include "checkpoint/host_copies.h"
#include "checkpoint/layout.h"
#include "kernels/base/check.h"

namespace tessera {
namespace {

bool is_held(const StateEntry& entry, bool owner) {
  return entry.owner == owner && !entry.shard.box.empty();
}

// "/param/model.norm.weight"; a second box of one tensor in one file gets a mark that no tensor
// name can contain.
std::vector<H5Dataset> datasets_of(const ShardIndex& index) {
  std::vector<H5Dataset> datasets;
  std::map<std::string, int> seen;
  for (const StoredBox& stored : index.boxes) {
    std::string path = "/" + stored.role + "/" + stored.name;
    if (const int before = seen[path]++; before > 0) path += "@" + std::to_string(before);
    datasets.push_back(
        {path, stored.dtype, stored.box.extent, stored.global_shape, stored.box.offset});
  }
  return datasets;
}

}  // namespace

ShardIndex plan_index(const State& state, int writer, bool owner) {
  ShardIndex index;
  index.writer = writer;
  for (const StateEntry& entry : state.entries) {
    validate(entry);
    if (!is_held(entry, owner)) continue;
    StoredBox stored;
    stored.name = entry.name;
    stored.role = entry.role;
    stored.dtype = entry.tensor.dtype();
    stored.global_shape = entry.shard.global_shape;
    stored.box = entry.shard.box;
    stored.bytes = entry.tensor.bytes();
    index.boxes.push_back(std::move(stored));
  }
  return index;
}

ShardWriter::ShardWriter(Storage& storage, std::string directory, const SaveInfo& info,
                         const State& state, ShardIndex plan)
    : storage_(storage),
      directory_(std::move(directory)),
      finite_(info.finite),
      index_(std::move(plan)) {
  for (const StateEntry& entry : state.entries)
    if (is_held(entry, true)) entries_.push_back(&entry);
  check(entries_.size() == index_.boxes.size(), "checkpoint: the plan is of another state");
  skeleton_ = h5_skeleton(datasets_of(index_), {{"format", "tessera shard, format 1"},
                                                {"run_id", info.run_id},
                                                {"step", std::to_string(info.step)},
                                                {"writer", std::to_string(index_.writer)}});
  index_.file_bytes = skeleton_.file_bytes;
  for (size_t i = 0; i < index_.boxes.size(); ++i) index_.boxes[i].at = skeleton_.data_offset[i];
  file_ = storage_.create(directory_ + "/" + shard_name(index_.writer));
  file_->allocate(skeleton_.file_bytes);
}

WriterLine ShardWriter::write() {
  std::vector<Tensor> tensors;
  for (const StateEntry* entry : entries_) tensors.push_back(entry->tensor);
  HostCopies copies(std::move(tensors));
  for (StoredBox& stored : index_.boxes) write_box(stored, copies.next());
  write_skeleton();
  file_->sync();
  file_->close();
  file_.reset();
  // libhdf5 places datasets in the order they are made; the format promises it.
  std::sort(index_.boxes.begin(), index_.boxes.end(),
            [](const StoredBox& a, const StoredBox& b) { return a.at < b.at; });
  const std::string text = to_json(index_);
  write_file(storage_, directory_ + "/" + index_name(index_.writer), text);
  return {index_.writer, index_.file_bytes, static_cast<int64_t>(text.size()), crc32c(text),
          static_cast<int64_t>(index_.boxes.size())};
}

void ShardWriter::write_box(StoredBox& stored, const Tensor& tensor) {
  const auto* data = static_cast<const std::byte*>(tensor.data());
  for (int64_t at = 0; at < stored.bytes; at += kBlockBytes) {
    const int64_t bytes = std::min(kBlockBytes, stored.bytes - at);
    // Summed before it is written, from the caller's memory: what the disk path spoils is found.
    bool finite = true;
    const uint32_t crc =
        finite_ ? crc32c_finite(data + at, bytes, stored.dtype, finite) : crc32c(data + at, bytes);
    check(finite, ErrorKind::numeric,
          "tensor " + stored.name + " (" + stored.role +
              ") is not finite; nothing is saved, and earlier "
              "checkpoints stay");
    file_->write(stored.at + at, data + at, bytes);
    stored.block_crcs.push_back(crc);
    stored.crc = at == 0 ? crc : crc32c_joined(stored.crc, crc, bytes);
  }
}

void ShardWriter::write_skeleton() {
  uint32_t crc = 0;
  for (const H5Skeleton::Piece& piece : skeleton_.pieces) {
    crc = crc32c(piece.bytes.data(), static_cast<int64_t>(piece.bytes.size()), crc);
    // A new file is zero where nothing was written, and most gaps are only padding.
    if (piece.bytes.find_first_not_of('\0') != std::string::npos)
      file_->write(piece.offset, piece.bytes.data(), static_cast<int64_t>(piece.bytes.size()));
  }
  index_.skeleton_crc = crc;
}

}  // namespace tessera
