// SPDX-License-Identifier: Apache-2.0
// A part of the model whose gradient comes in two halves, so that a pipeline may delay the half
// nobody waits for. A layer knows its parameters and its communicators, not the schedule, the
// optimizer or other layers' insides.
#pragma once

#include <vector>

#include "kernels/base/stream.h"
#include "kernels/base/tensor.h"
#include "parallel/communicators.h"
#include "trainer/model/micro.h"
#include "trainer/model/parameter.h"
#include "trainer/model/tape.h"

namespace tessera {

// What every layer is built with; outlives the layers.
struct LayerContext {
  Stream& stream;
  ParameterStore& store;
  const Communicators& comms;
  DType dtype;  // of activations and weights
};

class Layer {
 public:
  virtual ~Layer() = default;
  // Remembers in `tape` what the halves below need; null: evaluation.
  virtual Tensor forward(const Tensor& x, const Micro& micro, Tape* tape) = 0;
  // Returns dL/dx; touches no parameter gradient.
  virtual Tensor backward_input(const Tensor& dy, Tape& tape) = 0;
  // Adds dL/dw; afterwards `tape` holds nothing of this layer.
  virtual void backward_weight(Tape& tape) = 0;
  // The parameters whose gradient is final after backward_weight of the last microbatch.
  virtual std::vector<int> parameters() const = 0;
};

}  // namespace tessera
