// SPDX-License-Identifier: Apache-2.0
// One committed checkpoint, open for reading: any box of any tensor, whatever boxes it was saved
// in. Goes by manifest and indexes with bounds-checked reads of its own; libhdf5 is never called,
// so a hostile file can do no more than be refused. Every byte handed out was verified.
//
// Opening checks the chain COMMIT -> manifest -> indexes and the size of every shard file; reading
// checks the CRC32C of each 1 MiB block that it touches. Damage is Error{checkpoint} that names the
// file and, in data, the tensor and the bytes. Not thread-safe: one reader, one thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/manifest.h"
#include "checkpoint/shard_map.h"
#include "checkpoint/storage.h"
#include "kernels/base/tensor.h"
#include "parallel/communicator.h"

namespace tessera {

// bytes verified so far, bytes in all
using Progress = std::function<void(int64_t done, int64_t total)>;

class CheckpointReader {
 public:
  // `directory` is .../step-NNNNNNNN. The storage must outlive the reader.
  static CheckpointReader open(Storage& storage, const std::string& directory);
  // Collective: each rank reads its share of the indexes and sends it to the others. One rank needs
  // 2.5 s for the 230,000 boxes of 4,096 writers, a hundred ranks a hundredth and 0.7 s.
  static CheckpointReader open(Storage& storage, Communicator& world, const std::string& directory);

  CheckpointReader(CheckpointReader&&) = default;
  CheckpointReader& operator=(CheckpointReader&&) = default;

  const std::string& directory() const { return directory_; }
  const Manifest& manifest() const { return manifest_; }
  const std::map<std::string, std::string>& scalars() const { return manifest_.scalars; }
  const std::string& recipe() const { return manifest_.recipe; }
  // By name, then role, with the boxes and the shard each stands in (shards()[piece.shard]).
  const std::vector<GlobalTensor>& tensors() const { return map_.tensors(); }
  const std::vector<ShardIndex>& shards() const { return shards_; }
  // nullptr: there is none.
  const GlobalTensor* find(const std::string& name, const std::string& role) const;

  // Fills `out` (host, contiguous, box.size() elements of the stored dtype) with that box of the
  // tensor. Error{usage} when the checkpoint holds no such tensor, dtype or elements.
  void read(const std::string& name, const std::string& role, const Box& box, const Tensor& out);
  // The whole tensor in new host memory; more than four dims come as (rows, columns).
  Tensor read_whole(const GlobalTensor& tensor);

  // Reads every byte of every shard. Throws for the first damage found, and for the first byte that
  // cannot be read now.
  void verify_all(const Progress& progress = {});
  // Reads all, and has one sentence for each piece of damage; empty when all is well. What the
  // system cannot read now is no damage: its sentences go to `unreadable`, or the first is thrown
  // as Error{storage} where that is null.
  std::vector<std::string> find_damage(const Progress& progress = {},
                                       std::vector<std::string>* unreadable = nullptr);

  int64_t bytes_read() const { return bytes_read_; }  // from shard files, so far

 private:
  CheckpointReader(Storage& storage, std::string directory);
  std::vector<ShardIndex> read_indexes(size_t first, size_t stride) const;
  ShardIndex read_index(const WriterLine& line) const;
  void check_cover() const;
  void check_name() const;
  InputFile& shard_file(size_t shard);
  std::string shard_path(size_t shard) const;
  void reserve_scratch(int64_t bytes);
  void read_block(size_t shard, const StoredBox& stored, int64_t block, void* out);
  void read_piece(const StoredPiece& piece, const Box& box, const Box& overlap, const Tensor& out);
  void verify_skeleton(size_t shard);

  Storage* storage_;
  std::string directory_;
  Manifest manifest_;
  std::vector<ShardIndex> shards_;
  ShardMap map_;
  std::map<size_t, std::unique_ptr<InputFile>> open_files_;
  std::vector<std::byte> scratch_;  // at most one block
  int64_t bytes_read_ = 0;
};

// The manifest of a directory whose COMMIT matches it; else Error{checkpoint} that says why not.
Manifest read_committed_manifest(Storage& storage, const std::string& directory);
// When COMMIT vouches for a manifest of a format above ours, its head: it is not damaged, a newer
// Tessera wrote it. nullopt for anything else.
std::optional<ManifestHead> head_of_newer_format(Storage& storage, const std::string& directory);

}  // namespace tessera
