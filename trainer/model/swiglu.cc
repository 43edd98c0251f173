// SPDX-License-Identifier: Apache-2.0
#include "trainer/model/swiglu.h"

#include "kernels/elementwise.h"

namespace tessera {
namespace {

struct Saved {
  Tensor gate_up;  // (T, 2 F)
};

}  // namespace

SwiGlu::SwiGlu(LayerContext context, const std::string& prefix, int64_t hidden_size, int64_t width,
               double deviation, double down_deviation)
    : context_(context),
      width_(width),
      gate_up_(context, {matrix(prefix + "gate_proj.weight", width, hidden_size, deviation),
                         matrix(prefix + "up_proj.weight", width, hidden_size, deviation)}),
      down_(context, {matrix(prefix + "down_proj.weight", hidden_size, width, down_deviation)}) {}

Tensor SwiGlu::forward(const Tensor& x, const Micro& micro, Tape* tape) {
  const Tensor gate_up = gate_up_.forward(x, micro, tape);
  const Tensor y(x.device(), x.dtype(), {x.rows(), width_});
  swiglu(context_.stream, gate_up.column_slice(0, width_), gate_up.column_slice(width_, width_), y);
  if (tape) tape->frame<Saved>(this).gate_up = gate_up;
  return down_.forward(y, micro, tape);
}

Tensor SwiGlu::backward_input(const Tensor& dy, Tape& tape) {
  const Tensor d = down_.backward_input(dy, tape);
  const Tensor gate_up = tape.frame<Saved>(this).gate_up;
  const Tensor dgate_up(dy.device(), dy.dtype(), {dy.rows(), 2 * width_});
  swiglu_backward(context_.stream, gate_up.column_slice(0, width_),
                  gate_up.column_slice(width_, width_), d, dgate_up.column_slice(0, width_),
                  dgate_up.column_slice(width_, width_));
  tape.release(this);
  return gate_up_.backward_input(dgate_up, tape);
}

void SwiGlu::backward_weight(Tape& tape) {
  down_.backward_weight(tape);
  gate_up_.backward_weight(tape);
}

std::vector<int> SwiGlu::parameters() const {
  std::vector<int> all = gate_up_.parameters();
  for (const int parameter : down_.parameters()) all.push_back(parameter);
  return all;
}

}  // namespace tessera
