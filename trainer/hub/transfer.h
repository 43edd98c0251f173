// SPDX-License-Identifier: Apache-2.0
// These functions move checkpoints to and from directories of Hugging Face (hub_model.h), with one
// tensor or a gibibyte of them in memory at a time.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "checkpoint/lease.h"
#include "checkpoint/reader.h"
#include "checkpoint/writer.h"
#include "trainer/hub/hub_model.h"

namespace tessera {

struct HubExport {
  std::string directory;              // made; must not exist
  DType dtype = DType::bf16;          // of matrices and norms; biases of routers stay f32
  int64_t max_shard = 5'000'000'000;  // bytes of one file, unless one tensor has more
  std::string tokenizer;              // tokenizer.json to copy; empty: none
};
struct HubReport {
  int64_t tensors = 0;
  int64_t bytes = 0;
  int files = 0;
};
// Writes the weights of a checkpoint. Appears at one instant, complete.
HubReport export_to_hub(
    CheckpointReader& from, const ModelOptions& model, const HubExport& options,
    const std::function<void(int64_t bytes)>& progress = [](int64_t) {});

// Writes a checkpoint of weights alone (step 0) under root, a gibibyte of tensors in memory at a
// time. recipe: its text, stored in the checkpoint. lease: on root, while this writes there.
// made_with: scalars beside the steps.
SaveReport import_from_hub(
    Storage& storage, HubModel& from, const std::string& root, const std::string& recipe,
    const std::function<void(int64_t tensors, int64_t of)>& progress = [](int64_t, int64_t) {},
    const Lease* lease = nullptr, const std::map<std::string, std::string>& made_with = {});

}  // namespace tessera
