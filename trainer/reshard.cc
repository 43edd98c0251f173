// SPDX-License-Identifier: Apache-2.0
#include "trainer/reshard.h"

#include <algorithm>
#include <memory>

#include "checkpoint/draft.h"
#include "checkpoint/layout.h"
#include "checkpoint/load.h"
#include "checkpoint/shard_writer.h"
#include "trainer/model_state.h"
#include "trainer/optim/optimizer.h"
#include "trainer/rank_layout.h"
#include "trainer/training_plan.h"

namespace tessera {
namespace {

class Resharding {
 public:
  Resharding(Storage& storage, CheckpointReader& from, const Recipe& recipe,
             const ReshardOptions& options, const std::function<void(int64_t)>& progress)
      : storage_(storage),
        from_(from),
        recipe_(recipe),
        options_(options),
        progress_(progress),
        grid_(ProcessGrid::filling(options.num_ranks, grid_sizes(recipe.parallel))),
        info_{from.manifest().run_id, from.manifest().step, grid_.to_string(), options.recipe},
        generation_(options.lease ? options.lease->generation() : 0),
        draft_(storage, options.root, info_.step, generation_,
               temporary_name(info_.step, generation_),
               [&] { options_.lease ? options_.lease->check_held() : void(); }) {}

  ReshardReport operator()() {
    check(!storage_.exists(draft_.final_path()), ErrorKind::usage,
          draft_.final_path() + " exists already; reshard into another directory");
    try {
      draft_.make();
      for (int rank = 0; rank < grid_.num_ranks(); ++rank) write(rank);
      commit();
    } catch (...) {
      draft_.discard();
      throw;
    }
    report_.directory = draft_.final_path();
    report_.layout = info_.layout;
    report_.bytes_read = from_.bytes_read();
    return report_;
  }

 private:
  // The tensors that a rank of the new layout owns; their memory holds anything.
  State tensors(int rank) const {
    const auto comms = Communicators::dry_run(grid_, rank, std::make_shared<DryCalls>(),
                                              recipe_.model.kv_replicas(recipe_.parallel.tensor));
    const int data = grid_.size(Axis::data);
    const Plan plan = training_plan(
        recipe_, static_cast<int>(recipe_.batch.global / (recipe_.batch.micro * data)));
    Stream stream{Device{}};
    ParameterStore store;
    const auto stage =
        lay_out_rank({stream, store, comms, recipe_.compute_type()}, recipe_, plan, kNoPositions);
    State state = new_tensors_of(store, comms, state_roles(recipe_.optimizer.name));
    if (recipe_.model.has_experts() && rank == 0)
      add_biases(Routing(stream, recipe_.model, 0), recipe_.model, true, state);
    return state;
  }

  void write(int rank) {
    State state = tensors(rank);
    load_entries(from_, state);
    int64_t bytes = 0;
    for (const StateEntry& entry : state.entries) bytes += entry.tensor.bytes();
    ShardIndex plan = plan_index(state, rank, true);
    indexes_.push_back(plan);
    if (!plan.boxes.empty())
      writers_.push_back(
          ShardWriter(storage_, draft_.path(), info_, state, std::move(plan)).write());
    report_.largest_shard = std::max(report_.largest_shard, bytes);
    progress_(done_ += bytes);
  }

  // Every element of every tensor of the old one, exactly once.
  void check_cover() const {
    const ShardMap map(indexes_);
    const std::vector<std::string> faults = map.faults();
    check(faults.empty(),
          "reshard: the ranks' parts are no whole state:", faults.empty() ? "" : faults.front());
    for (const GlobalTensor& tensor : from_.tensors())
      check(map.find(tensor.name, tensor.role) >= 0, ErrorKind::usage, from_.directory() + ":",
            tensor.name, "(" + tensor.role + ") is no tensor of the recipe's model");
  }

  void commit() {
    check_cover();
    Manifest manifest = from_.manifest();
    manifest.version = kFormatVersion;
    // In a directory with other steps the line goes on from this one.
    manifest.generation = generation_;
    manifest.base = info_.step;
    manifest.layout = info_.layout;
    manifest.recipe = info_.recipe;
    manifest.writers = writers_;
    draft_.commit(manifest);
    report_.bytes = manifest.bytes();
  }

  static constexpr int64_t kNoPositions = 1;  // nothing is computed here

  Storage& storage_;
  CheckpointReader& from_;
  const Recipe& recipe_;
  const ReshardOptions& options_;
  const std::function<void(int64_t)>& progress_;
  ProcessGrid grid_;
  SaveInfo info_;
  int64_t generation_;
  Draft draft_;
  std::vector<ShardIndex> indexes_;
  std::vector<WriterLine> writers_;
  int64_t done_ = 0;
  ReshardReport report_;
};

}  // namespace

ReshardReport reshard(Storage& storage, CheckpointReader& from, const Recipe& recipe,
                      const ReshardOptions& options, const std::function<void(int64_t)>& progress) {
  return Resharding(storage, from, recipe, options, progress)();
}

}  // namespace tessera
