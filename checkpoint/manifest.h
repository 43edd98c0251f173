// SPDX-License-Identifier: Apache-2.0
// manifest.json and COMMIT: what a checkpoint is, small enough to read with one's own eyes, and the
// mark that it is complete. COMMIT holds the manifest's size and checksum, the manifest holds each
// index's, each index holds its blocks': one chain, so that no byte of a checkpoint goes unguarded.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace tessera {

struct WriterLine {
  int rank = 0;
  int64_t shard_bytes = 0;
  int64_t index_bytes = 0;
  uint32_t index_crc = 0;
  int64_t num_tensors = 0;
};

struct Manifest {
  int version = 1;
  std::string run_id;
  int64_t step = 0;
  // The job that saved it (checkpoint/lease.h) and the step in the same directory that this job
  // went on from, -1 for none. Generation 0 was written without a lease, or before there were any.
  int64_t generation = 0;
  int64_t base = -1;
  std::string layout;  // of the ranks that saved, for people: "data 2 x tensor 1 ..."
  std::string recipe;  // resolved YAML text
  std::map<std::string, std::string> scalars;
  std::vector<WriterLine> writers;  // by increasing rank; ranks that own nothing are left out

  int64_t bytes() const;  // of all shard files
};

std::string to_json(const Manifest& manifest);
// Throws Error{checkpoint} starting with `where`; a newer format version says so.
Manifest parse_manifest(const std::string& text, const std::string& where);

// The part of a manifest that every format will keep: enough to see of which line a checkpoint is.
struct ManifestHead {
  int64_t version = 1;
  int64_t generation = 0;
  int64_t base = -1;
};
// Reads it also from a manifest whose version parse_manifest() refuses.
ManifestHead parse_head(const std::string& manifest_text, const std::string& where);

// The whole of COMMIT for this manifest text. A COMMIT is valid when it equals this byte for byte.
std::string commit_text(const Manifest& manifest, const std::string& manifest_text);

}  // namespace tessera
