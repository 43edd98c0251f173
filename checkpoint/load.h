// SPDX-License-Identifier: Apache-2.0
// Loading a State: every rank names the boxes it wants (under any layout, on any number of ranks)
// and gets them, verified. Values are never converted: a dtype that differs is an Error.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/reader.h"
#include "checkpoint/retention.h"
#include "checkpoint/state.h"
#include "checkpoint/storage.h"
#include "parallel/communicator.h"

namespace tessera {

struct LoadOptions {
  bool allow_missing = false;     // entries that the checkpoint lacks keep what they hold
  bool allow_unexpected = false;  // the checkpoint may hold tensors that no rank asks for
  // Only tensors of these roles are looked at on either side ({"param"}: weights alone); empty:
  // all. With roles named, scalars are left alone.
  std::vector<std::string> roles = {};
  // Asked on rank 0 when the checkpoint is open and no tensor has been read; what it throws is
  // thrown on every rank. All ranks give one, or none does. load_entries() does not ask it.
  std::function<void(const CheckpointReader&)> accept = {};
};

struct LoadReport {
  std::string directory;
  int64_t step = 0;
  int64_t bytes = 0;  // read by this rank
  double seconds = 0;
  std::vector<std::string> missing;     // "name (role)": this rank's entries that were not there
  std::vector<std::string> unexpected;  // of all ranks
  std::vector<PassedOver> passed_over;  // load_newest: the newer ones, and why not
};

// Collective. Fills every entry's tensor (owner or not) and state.scalars. The same Error on every
// rank: checkpoint when it is damaged, usage when it is sound but of another model (missing or
// unexpected tensors, another shape or dtype). After an Error the tensors hold anything.
LoadReport load_checkpoint(Storage& storage, Communicator& world, const std::string& directory,
                           State& state, const LoadOptions& options = {});

// The same for one process, from a checkpoint that is open already; tensors that it does not ask
// for are not looked at.
LoadReport load_entries(CheckpointReader& reader, State& state, const LoadOptions& options = {});

// Collective. Loads the newest checkpoint of the line in `root` (line.h) that is sound down to
// every byte it reads, passing over damaged ones. nullopt when there is no step directory at all;
// when there are some and none is sound, Error{checkpoint} with each reason: never a silent fresh
// start. Error{checkpoint} as newest_valid(), and Error{storage} when something cannot be read
// after three tries: neither is a reason to go back.
std::optional<LoadReport> load_newest(Storage& storage, Communicator& world,
                                      const std::string& root, State& state,
                                      const LoadOptions& options = {});

}  // namespace tessera
