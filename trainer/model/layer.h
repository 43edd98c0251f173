// SPDX-License-Identifier: Apache-2.0
// A part of the model whose gradient comes in two halves, so that a pipeline may delay the half
// nobody waits for. A layer knows its parameters and its communicators, not the schedule, the
// optimizer or other layers' insides.
#pragma once

#include <vector>

#include "kernels/base/stream.h"
#include "kernels/base/tensor.h"
#include "parallel/communicators.h"
#include "parallel/strategy/tensor_parallel.h"
#include "trainer/model/micro.h"
#include "trainer/model/parameter.h"
#include "trainer/model/pass.h"

namespace tessera {

class Routing;  // trainer/model/routing.h

// What every layer is built with; outlives the layers.
struct LayerContext {
  Stream& stream;
  ParameterStore& store;
  const Communicators& comms;
  DType dtype;  // of activations and weights
  // What of a layer's activations is kept for the backward pass: docs/parallelism.md, recompute.
  bool selective_recompute = false;
  // What the routers of a mixture of experts share; null: the model has none, or nothing is counted
  // and no expert has a bias.
  Routing* routing = nullptr;

  TensorParallel tensor() const { return {stream, comms.along(Axis::tensor)}; }
};

class Layer {
 public:
  virtual ~Layer() = default;
  // Remembers in the pass's tape what the halves below need.
  virtual Tensor forward(const Tensor& x, const Micro& micro, Pass pass) = 0;
  // Returns dL/dx; touches no parameter gradient.
  virtual Tensor backward_input(const Tensor& dy, Tape& tape) = 0;
  // Adds dL/dw; afterwards `tape` holds nothing of this layer.
  virtual void backward_weight(Tape& tape) = 0;
  // What backward_weight() adds a microbatch's gradient to.
  virtual std::vector<Stack> weights() const = 0;

  // A stage asks these questions of the layers of a chunk, not of the layers inside them.
  // Weights to which forward() itself, given a tape, adds a microbatch's gradient: those of heads.
  virtual std::vector<Stack> forward_weights() const { return {}; }
  virtual void begin_step() {}
  // A sum of losses beside the main one since begin_step(), as ExactSum words; null: there is none.
  virtual const Tensor* extra_loss_words() const { return nullptr; }
  // For a model's last layer: logits (T, V) in the place of the losses that forward() gives.
  virtual Tensor logits(const Tensor& x) const;

  // Selective recompute: between forward and backward_input the input x is not kept (drop), but
  // made again by whoever made it (restore). Layers that do not keep their input do nothing.
  virtual void drop_input(Tape& /*tape*/) {}
  virtual void restore_input(Tape& /*tape*/, const Tensor& /*x*/) {}
};

}  // namespace tessera
