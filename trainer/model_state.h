// SPDX-License-Identifier: Apache-2.0
// A rank's parameters as named boxes for saving and loading: which entries there are, and which
// rank counts and writes each. Pure functions of the store's layout and the rank's groups.
#pragma once

#include <string>
#include <vector>

#include "checkpoint/state.h"
#include "parallel/communicators.h"
#include "trainer/model/parameter.h"
#include "trainer/model/routing.h"

namespace tessera {

// Whether this rank is the one that measures and saves the piece, of all that hold it.
bool counts(const ParameterStore& store, const Communicators& comms, const Piece& piece);

// One entry a piece, in the store's order, whose tensors are the store's own.
State weights_of(const ParameterStore& store, const Communicators& comms);  // role "param"
// The selection biases of all layers that have some, as entries of role "param" under Hugging
// Face's names; the tensors are views of the Routing's. owner: whether this rank saves them.
void add_biases(const Routing& routing, const ModelOptions& model, bool owner, State& state);
State gradients_of(const ParameterStore& store, const Communicators& comms);  // "grad"
// "param" and the roles of the optimizer's state: all tensors that continue a run.
State tensors_of(const ParameterStore& store, const Communicators& comms);

// Those of tensors_of() that this rank writes, in new host memory that holds anything. REQUIRES
// lay_out() of the store only.
State new_tensors_of(const ParameterStore& store, const Communicators& comms,
                     const std::vector<std::string>& state_roles);

}  // namespace tessera
