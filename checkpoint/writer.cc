// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/writer.h"

#include <chrono>
#include <cstring>
#include <memory>
#include <optional>

#include "checkpoint/checksum.h"
#include "checkpoint/draft.h"
#include "checkpoint/index_pack.h"
#include "checkpoint/layout.h"
#include "checkpoint/shard_map.h"
#include "checkpoint/shard_writer.h"
#include "checkpoint/together.h"
#include "kernels/base/check.h"

namespace tessera {
namespace {

// One save in flight, on one rank.
class Save {
 public:
  Save(Storage& storage, Communicator& world, const std::string& root, const SaveInfo& info,
       const State& state)
      : storage_(storage), world_(world), root_(root), info_(info), state_(state) {}

  SaveReport run() {
    const auto start = std::chrono::steady_clock::now();
    // Rank 0's name for it, so that all write into one directory.
    const std::string name = temporary_name(info_.step, info_.generation);
    draft_.emplace(storage_, root_, info_.step, info_.generation,
                   world_.broadcast(name, 0, "checkpoint name"), info_.still_held);
    check_state();
    try {
      write_shards();
      commit();
    } catch (...) {
      discard();
      throw;
    }
    SaveReport report;
    report.bytes = manifest_.bytes();
    report.directory = draft_->final_path();
    report.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return report;
  }

 private:
  bool leads() const { return world_.rank() == 0; }

  // Nothing is on disk yet: is the State one that can be saved?
  void check_state() {
    ShardIndex replicas;
    together(world_, "checkpoint plan", [&] {
      plan_ = plan_index(state_, world_.rank(), true);
      replicas = plan_index(state_, world_.rank(), false);
    });
    const std::vector<std::string> plans =
        world_.all_gather(pack_indexes({plan_, replicas}), "checkpoint plan");
    const int64_t scalars = scalars_checksum();
    const int64_t most = world_.all_reduce(scalars, Reduce::max, "checkpoint scalars");
    together(world_, "checkpoint cover", [&] {
      check(scalars == most, "checkpoint: step or scalars differ between ranks");
      if (leads()) check_cover(plans);
    });
  }

  // Every element of every tensor that any rank holds has exactly one owner.
  static void check_cover(const std::vector<std::string>& plans) {
    std::vector<ShardIndex> owned, replicas;
    for (const std::string& plan : plans) {
      std::vector<ShardIndex> both = unpack_indexes(plan);
      owned.push_back(std::move(both[0]));
      replicas.push_back(std::move(both[1]));
    }
    const ShardMap map(owned), replica_map(replicas);
    std::vector<std::string> faults = map.faults();
    for (const GlobalTensor& tensor : replica_map.tensors())
      if (map.find(tensor.name, tensor.role) < 0)
        faults.push_back("tensor " + tensor.name + " (" + tensor.role + ") has no owner");
    check(faults.empty(), "checkpoint: the ranks' entries are no whole state:",
          faults.empty() ? "" : faults.front());
  }

  int64_t scalars_checksum() const {
    std::string text = std::to_string(info_.step);
    for (const auto& [key, value] : state_.scalars) text += "\n" + key + "=" + value;
    return crc32c(text);
  }

  void write_shards() {
    together(world_, "checkpoint directory", [&] {
      if (leads()) draft_->make();
    });
    together(world_, "checkpoint room", [&] {
      if (plan_.boxes.empty()) return;  // owns nothing, writes nothing
      shard_ =
          std::make_unique<ShardWriter>(storage_, draft_->path(), info_, state_, std::move(plan_));
    });
    WriterLine mine;
    together(world_, "checkpoint data", [&] {
      if (shard_) mine = shard_->write();
    });
    const bool wrote = shard_ != nullptr;
    shard_.reset();
    gather_lines(mine, wrote);
  }

  void gather_lines(const WriterLine& mine, bool wrote) {
    std::string text;
    if (wrote) text.assign(reinterpret_cast<const char*>(&mine), sizeof mine);
    for (const std::string& peer : world_.all_gather(text, "checkpoint writers")) {
      if (peer.empty()) continue;
      WriterLine line;
      std::memcpy(&line, peer.data(), sizeof line);
      manifest_.writers.push_back(line);
    }
  }

  void commit() {
    together(world_, "checkpoint commit", [&] {
      if (!leads()) return;
      manifest_.version = kFormatVersion;
      manifest_.run_id = info_.run_id;
      manifest_.step = info_.step;
      manifest_.generation = info_.generation;
      manifest_.base = info_.base;
      manifest_.layout = info_.layout;
      manifest_.recipe = info_.recipe;
      manifest_.scalars = state_.scalars;
      draft_->commit(manifest_);
    });
  }

  void discard() noexcept {
    shard_.reset();
    if (leads()) draft_->discard();
  }

  Storage& storage_;
  Communicator& world_;
  const std::string& root_;
  const SaveInfo& info_;
  const State& state_;
  std::optional<Draft> draft_;
  ShardIndex plan_;
  std::unique_ptr<ShardWriter> shard_;
  Manifest manifest_;  // on every rank the writers; the rest on rank 0
};

}  // namespace

SaveReport save_checkpoint(Storage& storage, Communicator& world, const std::string& root,
                           const SaveInfo& info, const State& state) {
  return Save(storage, world, root, info, state).run();
}

}  // namespace tessera
