// SPDX-License-Identifier: Apache-2.0
#include "trainer/model_state.h"

#include <functional>

namespace tessera {
namespace {

using TensorOf = std::function<Tensor(const Piece&)>;

void add_entries(const ParameterStore& store, const Communicators& comms, const std::string& role,
                 const TensorOf& tensor_of, State& state) {
  for (const Piece& piece : store.pieces())
    state.entries.push_back({.name = store.at(piece.parameter).name,
                             .role = role,
                             .tensor = tensor_of(piece),
                             .shard = piece.shard,
                             .owner = counts(store, comms, piece)});
}

}  // namespace

bool counts(const ParameterStore& store, const Communicators& comms, const Piece& piece) {
  const Parameter& parameter = store.at(piece.parameter);
  if (!parameter.primary) return false;
  if (parameter.replication == Replication::tensor && comms.along(Axis::tensor).rank() > 0)
    return false;
  if (parameter.replication == Replication::tensor_replicas && comms.tensor_replicas().rank() > 0)
    return false;
  // Without ZeRO all data ranks hold every piece: each has its share of the work.
  const Communicator& data = data_ranks(comms, parameter.group);
  return store.zero().stage > 0 || piece.parameter % data.size() == data.rank();
}

State weights_of(const ParameterStore& store, const Communicators& comms) {
  State state;
  add_entries(
      store, comms, "param", [&](const Piece& piece) { return store.master(piece); }, state);
  return state;
}

void add_biases(const Routing& routing, const ModelOptions& model, bool owner, State& state) {
  if (!model.has_selection_biases()) return;
  for (int64_t i = 0; i < routing.num_layers(); ++i) {
    const int64_t layer = routing.first_layer() + i;
    state.entries.push_back(
        {.name = "model.layers." + std::to_string(layer) + ".mlp.gate.e_score_correction_bias",
         .role = "param",
         .tensor = routing.bias(layer),
         .shard = ShardSpec::whole({routing.num_experts()}),
         .owner = owner});
  }
}

State gradients_of(const ParameterStore& store, const Communicators& comms) {
  State state;
  add_entries(
      store, comms, "grad", [&](const Piece& piece) { return store.grad(piece); }, state);
  return state;
}

State tensors_of(const ParameterStore& store, const Communicators& comms) {
  State state = weights_of(store, comms);
  for (int i = 0; i < store.num_states(); ++i)
    add_entries(
        store, comms, store.state_role(i),
        [&](const Piece& piece) { return store.state(i, piece); }, state);
  return state;
}

State new_tensors_of(const ParameterStore& store, const Communicators& comms,
                     const std::vector<std::string>& state_roles) {
  State state;
  const DType dtype = accumulation_type(store.compute_type());
  const auto add = [&](const std::string& role) {
    add_entries(
        store, comms, role, [](const Piece&) { return Tensor(); }, state);
  };
  add("param");
  for (const std::string& role : state_roles) add(role);
  std::erase_if(state.entries, [](const StateEntry& entry) { return !entry.owner; });
  for (StateEntry& entry : state.entries) {
    const std::vector<int64_t>& extent = entry.shard.box.extent;
    const int64_t rows = extent.size() < 2 ? 1 : extent[0];
    entry.tensor = Tensor(Device{}, dtype, {rows, extent.back()});
  }
  return state;
}

}  // namespace tessera
