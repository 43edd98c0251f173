// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/reader.h"

#include <algorithm>
#include <cstring>

#include "checkpoint/box_runs.h"
#include "checkpoint/checksum.h"
#include "checkpoint/index_pack.h"
#include "checkpoint/json.h"
#include "checkpoint/layout.h"
#include "checkpoint/together.h"
#include "kernels/base/check.h"

namespace tessera {
namespace {

// Limits on what a damaged or hostile file can make us hold in memory. The manifest of 100,000
// writers has 12 MB, the index of a 1 TB shard 10 MB.
constexpr int64_t kLargestManifest = int64_t{256} << 20;
constexpr int64_t kLargestIndex = int64_t{1} << 30;
constexpr int64_t kLargestCommit = 4096;
constexpr size_t kMostOpenFiles = 64;  // of one reader: processes may have 1024 in all

constexpr const char* kRemedy =
    "; resume from an older checkpoint, or restore this file from a copy";

}  // namespace

namespace {

// The manifest's text as COMMIT vouches for it by checksum. The other order, manifest first, would
// call a flipped bit in the manifest a damaged COMMIT.
struct CommittedText {
  std::string manifest, commit;
};

CommittedText read_committed_text(Storage& storage, const std::string& directory) {
  check(storage.exists(directory), ErrorKind::checkpoint,
        directory + ": there is no checkpoint here");
  const std::string commit_path = directory + "/" + kCommitName;
  check(storage.exists(commit_path), ErrorKind::checkpoint,
        directory + " is incomplete: no COMMIT record (killed while saving?)");
  CommittedText text;
  text.commit = read_file(storage, commit_path, kLargestCommit);
  const std::string manifest_path = directory + "/" + kManifestName;
  check(storage.exists(manifest_path), ErrorKind::checkpoint, manifest_path + ": is missing");
  text.manifest = read_file(storage, manifest_path, kLargestManifest);
  const std::string crc = hex(crc32c(text.manifest));
  check(text.commit.find("\"manifest_crc32c\":\"" + crc + "\"") != std::string::npos,
        ErrorKind::checkpoint,
        manifest_path + ": is damaged, or COMMIT beside it is: its CRC32C is " + crc +
            ", COMMIT says otherwise" + kRemedy);
  return text;
}

}  // namespace

Manifest read_committed_manifest(Storage& storage, const std::string& directory) {
  const CommittedText text = read_committed_text(storage, directory);
  Manifest manifest = parse_manifest(text.manifest, directory + "/" + kManifestName);
  check(text.commit == commit_text(manifest, text.manifest), ErrorKind::checkpoint,
        directory + "/" + kCommitName + ": is damaged: it does not fit manifest.json" + kRemedy);
  return manifest;
}

std::optional<ManifestHead> head_of_newer_format(Storage& storage, const std::string& directory) {
  try {
    const CommittedText text = read_committed_text(storage, directory);
    const ManifestHead head = parse_head(text.manifest, directory + "/" + kManifestName);
    return head.version > kFormatVersion ? std::optional(head) : std::nullopt;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::checkpoint) throw;
    return std::nullopt;
  }
}

CheckpointReader::CheckpointReader(Storage& storage, std::string directory)
    : storage_(&storage), directory_(std::move(directory)) {}

CheckpointReader CheckpointReader::open(Storage& storage, const std::string& directory) {
  CheckpointReader reader(storage, directory);
  reader.manifest_ = read_committed_manifest(storage, directory);
  reader.check_name();
  reader.shards_ = reader.read_indexes(0, 1);
  reader.map_ = ShardMap(reader.shards_);
  reader.check_cover();
  return reader;
}

CheckpointReader CheckpointReader::open(Storage& storage, Communicator& world,
                                        const std::string& directory) {
  CheckpointReader reader(storage, directory);
  std::string text;
  together(world, "checkpoint open", [&] {
    if (world.rank() == 0) text = to_json(read_committed_manifest(storage, directory));
  });
  text = world.broadcast(text, 0, "checkpoint manifest");
  reader.manifest_ = parse_manifest(text, directory + "/" + kManifestName);
  reader.check_name();
  std::string mine;
  together(world, "checkpoint indexes", [&] {
    mine = pack_indexes(
        reader.read_indexes(static_cast<size_t>(world.rank()), static_cast<size_t>(world.size())));
  });
  for (const std::string& part : world.all_gather(mine, "checkpoint indexes"))
    for (ShardIndex& index : unpack_indexes(part)) reader.shards_.push_back(std::move(index));
  std::sort(reader.shards_.begin(), reader.shards_.end(),
            [](const ShardIndex& a, const ShardIndex& b) { return a.writer < b.writer; });
  reader.map_ = ShardMap(reader.shards_);
  together(world, "checkpoint cover", [&] {
    if (world.rank() == 0) reader.check_cover();
  });
  return reader;
}

// Those of the manifest's writers number first, first + stride ...
std::vector<ShardIndex> CheckpointReader::read_indexes(size_t first, size_t stride) const {
  std::vector<ShardIndex> indexes;
  for (size_t i = first; i < manifest_.writers.size(); i += stride)
    indexes.push_back(read_index(manifest_.writers[i]));
  return indexes;
}

ShardIndex CheckpointReader::read_index(const WriterLine& line) const {
  const std::string path = directory_ + "/" + index_name(line.rank);
  check(storage_->exists(path), ErrorKind::checkpoint, path + ": is missing" + kRemedy);
  const std::string text = read_file(*storage_, path, kLargestIndex);
  const uint32_t crc = crc32c(text);
  check(static_cast<int64_t>(text.size()) == line.index_bytes && crc == line.index_crc,
        ErrorKind::checkpoint,
        path + ": is damaged: its CRC32C is " + hex(crc) + ", manifest.json says " +
            hex(line.index_crc) + kRemedy);
  ShardIndex index = parse_index(text, path);
  check(index.writer == line.rank && index.file_bytes == line.shard_bytes, ErrorKind::checkpoint,
        path + ": is damaged: it is of another shard");
  const std::string shard = directory_ + "/" + shard_name(line.rank);
  check(storage_->exists(shard), ErrorKind::checkpoint, shard + ": is missing" + kRemedy);
  const int64_t bytes = storage_->open(shard)->size();
  check(bytes == line.shard_bytes, ErrorKind::checkpoint, shard + ": is damaged: it has", bytes,
        "bytes, manifest.json says", std::to_string(line.shard_bytes) + kRemedy);
  return index;
}

// A directory that was renamed by hand would be another step than it says.
void CheckpointReader::check_name() const {
  const size_t end = directory_.find_last_not_of('/');
  const size_t slash = directory_.find_last_of('/', end);
  const size_t start = slash == std::string::npos ? 0 : slash + 1;
  const auto step = parse_step_name(std::string_view(directory_).substr(start, end + 1 - start));
  check(!step || *step == manifest_.step, ErrorKind::checkpoint,
        directory_ + ": its manifest is of step",
        std::to_string(manifest_.step) + "; give the directory its right name,",
        step_name(manifest_.step));
}

void CheckpointReader::check_cover() const {
  const std::vector<std::string> faults = map_.faults();
  check(faults.empty(), ErrorKind::checkpoint,
        directory_ + ": is damaged:", faults.empty() ? "" : faults.front());
}

const GlobalTensor* CheckpointReader::find(const std::string& name, const std::string& role) const {
  const int64_t found = map_.find(name, role);
  return found < 0 ? nullptr : &tensors()[static_cast<size_t>(found)];
}

std::string CheckpointReader::shard_path(size_t shard) const {
  return directory_ + "/" + shard_name(shards_[shard].writer);
}

InputFile& CheckpointReader::shard_file(size_t shard) {
  const auto found = open_files_.find(shard);
  if (found != open_files_.end()) return *found->second;
  if (open_files_.size() >= kMostOpenFiles) open_files_.clear();
  return *(open_files_[shard] = storage_->open(shard_path(shard)));
}

void CheckpointReader::read(const std::string& name, const std::string& role, const Box& box,
                            const Tensor& out) {
  const GlobalTensor* tensor = find(name, role);
  check(tensor != nullptr, ErrorKind::usage, directory_ + ": holds no tensor " + name,
        "(" + role + ")");
  const std::string label = directory_ + ": tensor " + name + " (" + role + ")";
  const std::vector<int64_t>& shape = tensor->global_shape;
  bool inside = box.extent.size() == shape.size() && box.offset.size() == shape.size();
  for (size_t dim = 0; inside && dim < shape.size(); ++dim)
    inside = box.offset[dim] >= 0 && box.extent[dim] >= 0 &&
             box.offset[dim] <= shape[dim] - box.extent[dim];
  check(inside, ErrorKind::usage, label, "has the shape", list_text(shape), "and no box",
        to_string(box));
  if (box.empty()) return;
  check(out.dtype() == tensor->dtype, ErrorKind::usage, label, "is stored as",
        tessera::name(tensor->dtype), "but wanted as", tessera::name(out.dtype()));
  check(out.size() == box.size() && out.contiguous() && out.device().is_host(),
        "checkpoint: cannot read box", to_string(box), "into", out.shape());
  const int64_t first = box.offset[0], end = first + box.extent[0];
  for (const StoredPiece& piece : tensor->pieces) {
    if (piece.box.offset[0] >= end) break;  // pieces stand by first row
    if (piece.box.offset[0] + piece.box.extent[0] <= first) continue;
    if (const auto overlap = intersect(piece.box, box)) read_piece(piece, box, *overlap, out);
  }
}

Tensor CheckpointReader::read_whole(const GlobalTensor& tensor) {
  const Box all = ShardSpec::whole(tensor.global_shape).box;
  std::vector<int64_t> extents = tensor.global_shape;
  if (extents.size() > static_cast<size_t>(Tensor::kMaxDims))
    extents = {tensor.size() / std::max<int64_t>(1, extents.back()), extents.back()};
  auto buffer = std::make_shared<Buffer>(Device{}, tensor.bytes(), MemoryClass::other);
  const Tensor out(std::move(buffer), tensor.dtype, 0, extents);
  read(tensor.name, tensor.role, all, out);
  return out;
}

void CheckpointReader::read_piece(const StoredPiece& piece, const Box& box, const Box& overlap,
                                  const Tensor& out) {
  const StoredBox& stored = shards_[piece.shard].boxes[piece.entry];
  const int64_t element = size_of(stored.dtype);
  auto* target = static_cast<std::byte*>(out.data());
  int64_t held = -1;  // the block in scratch_
  for_each_run(stored.box, box, overlap, [&](int64_t from, int64_t to, int64_t count) {
    int64_t at = from * element;
    std::byte* next = target + to * element;
    for (int64_t left = count * element; left > 0;) {
      const int64_t block = at / kBlockBytes, within = at % kBlockBytes;
      const int64_t block_bytes = std::min(kBlockBytes, stored.bytes - block * kBlockBytes);
      const int64_t part = std::min(left, block_bytes - within);
      if (part == block_bytes) {  // wanted whole: straight to its place
        read_block(piece.shard, stored, block, next);
      } else {
        if (held != block) {
          reserve_scratch(block_bytes);
          read_block(piece.shard, stored, block, scratch_.data());
          held = block;
        }
        std::memcpy(next, scratch_.data() + within, static_cast<size_t>(part));
      }
      at += part;
      next += part;
      left -= part;
    }
  });
}

void CheckpointReader::reserve_scratch(int64_t bytes) {
  if (static_cast<int64_t>(scratch_.size()) < bytes) scratch_.resize(static_cast<size_t>(bytes));
}

void CheckpointReader::read_block(size_t shard, const StoredBox& stored, int64_t block, void* out) {
  const int64_t first = block * kBlockBytes;
  const int64_t bytes = std::min(kBlockBytes, stored.bytes - first);
  const int64_t at = stored.at + first;
  shard_file(shard).read(at, out, bytes);
  bytes_read_ += bytes;
  const uint32_t crc = crc32c(out, bytes);
  const uint32_t wanted = stored.block_crcs[static_cast<size_t>(block)];
  if (crc != wanted)  // not check(): the sentence would be put together for every block
    fail(ErrorKind::checkpoint,
         shard_path(shard) + ": is damaged: CRC32C of tensor " + stored.name + " (" + stored.role +
             ") is " + hex(crc) + ", the index says " + hex(wanted) + " (bytes " +
             std::to_string(at) + "-" + std::to_string(at + bytes - 1) + ")" + kRemedy);
}

}  // namespace tessera
