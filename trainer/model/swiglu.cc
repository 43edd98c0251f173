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
      width_(even_part(width, context.tensor().rank(), context.tensor().size()).extent),
      gate_up_(context, Linear::Style::column,
               {cut_rows(matrix(prefix + "gate_proj.weight", width, hidden_size, deviation),
                         context.tensor()),
                cut_rows(matrix(prefix + "up_proj.weight", width, hidden_size, deviation),
                         context.tensor())}),
      down_(context, Linear::Style::row,
            {cut_columns(matrix(prefix + "down_proj.weight", hidden_size, width, down_deviation),
                         context.tensor())}) {}

Tensor SwiGlu::product(const Tensor& gate_up) const {
  const Tensor y(gate_up.device(), gate_up.dtype(), {gate_up.rows(), width_});
  swiglu(context_.stream, gate_up.column_slice(0, width_), gate_up.column_slice(width_, width_), y);
  return y;
}

Tensor SwiGlu::forward(const Tensor& x, const Micro& micro, Pass pass) {
  const Tensor gate_up = gate_up_.forward(x, micro, pass);
  if (pass.tape) pass.tape->frame<Saved>(this).gate_up = gate_up;
  const Tensor y = down_.forward(product(gate_up), micro, pass);
  if (pass.tape && context_.selective_recompute) down_.drop_input(*pass.tape);
  return y;
}

Tensor SwiGlu::backward_input(const Tensor& dy, Tape& tape) {
  const Tensor d = down_.backward_input(dy, tape);
  const Tensor gate_up = tape.frame<Saved>(this).gate_up;
  const Tensor dgate_up(d.device(), d.dtype(), {d.rows(), 2 * width_});
  swiglu_backward(context_.stream, gate_up.column_slice(0, width_),
                  gate_up.column_slice(width_, width_), d, dgate_up.column_slice(0, width_),
                  dgate_up.column_slice(width_, width_));
  if (!context_.selective_recompute) tape.release(this);
  return gate_up_.backward_input(dgate_up, tape);
}

void SwiGlu::backward_weight(Tape& tape) {
  if (context_.selective_recompute) {
    down_.restore_input(tape, product(tape.frame<Saved>(this).gate_up));
    tape.release(this);
  }
  down_.backward_weight(tape);
  gate_up_.backward_weight(tape);
}

std::vector<Stack> SwiGlu::weights() const {
  return {gate_up_.weights().front(), down_.weights().front()};
}

}  // namespace tessera
