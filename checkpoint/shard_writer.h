// SPDX-License-Identifier: Apache-2.0
// One rank's part of a save: its shard file and index, without communication. Two halves, so that
// all ranks can agree in between: the constructor plans the file and reserves its room, write()
// puts everything there and makes it durable. The tensors must not change from one to the other.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "checkpoint/h5_file.h"
#include "checkpoint/index.h"
#include "checkpoint/manifest.h"
#include "checkpoint/state.h"
#include "checkpoint/storage.h"
#include "checkpoint/writer.h"

namespace tessera {

// The boxes that rank `writer` holds as owner (which it will store) or not (replicas of what others
// store), not yet placed in a file. Validates every entry; boxes without elements are left out.
ShardIndex plan_index(const State& state, int writer, bool owner);

class ShardWriter {
 public:
  // `directory` exists, `plan` comes from plan_index(state, rank, true), `state` outlives the
  // ShardWriter.
  ShardWriter(Storage& storage, std::string directory, const SaveInfo& info, const State& state,
              ShardIndex plan);
  WriterLine write();

 private:
  void write_box(StoredBox& stored, const Tensor& tensor);  // of the host
  void write_skeleton();

  Storage& storage_;
  std::string directory_;
  bool finite_;  // SaveInfo::finite
  ShardIndex index_;
  std::vector<const StateEntry*> entries_;  // of each box of index_
  H5Skeleton skeleton_;
  std::unique_ptr<OutputFile> file_;
};

}  // namespace tessera
