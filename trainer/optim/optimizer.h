// SPDX-License-Identifier: Apache-2.0
// An optimizer makes weights follow gradients. It owns a state for each weight, which it declares
// in its row of the table: whoever allocates, saves, moves, plans or judges that state loops over
// the row, so that a new optimizer is one file and one row. It is told the learning rate, clipping
// and loss scale, on the device, and owns none of them.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "kernels/step_controls.h"
#include "trainer/model/parameter.h"
#include "trainer/recipe.h"

namespace tessera {

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  // Returns a row of step_controls()'s choices: what update number `update`, from 1, works with.
  virtual std::array<double, kNumChoices> choice(double learning_rate, int64_t update) const = 0;
  // Reads the gradients of all pieces, and writes masters, values and state, on the stream.
  // controls: (kNumControls) f64 on the stream's device; kApply 0 leaves everything as it is.
  virtual void step(Stream& stream, const Tensor& controls) = 0;
};

// Under ZeRO the data ranks share a matrix in one of these ways.
enum class Dealing {
  rows,            // any rows of a matrix are updated by themselves
  whole_matrices,  // one rank needs all of a matrix
};

struct StateRole {
  const char* role;   // in checkpoints
  const char* words;  // for people
};

struct OptimizerKind {
  OptimizerName name;             // optimizer.name of a recipe
  std::vector<StateRole> states;  // each of the master's shape and type, in the order of attaching
  Dealing dealing;
  // For a store with the states attached, whose tensors it keeps.
  std::unique_ptr<Optimizer> (*make)(const OptimizerOptions& options, ParameterStore& store);
};

// One row for each OptimizerName.
const std::vector<OptimizerKind>& optimizer_kinds();
const OptimizerKind& optimizer_kind(OptimizerName name);
std::vector<std::string> state_roles(OptimizerName name);

// After store.allocate(): attaches the states and makes the optimizer of this row, the only one of
// the store.
std::unique_ptr<Optimizer> make_optimizer(const OptimizerKind& kind,
                                          const OptimizerOptions& options, ParameterStore& store);

}  // namespace tessera
