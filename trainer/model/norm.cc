// SPDX-License-Identifier: Apache-2.0
#include "trainer/model/norm.h"

#include "kernels/norm.h"

namespace tessera {
namespace {

struct Saved {
  Tensor x;        // (T, H)
  Tensor inv_rms;  // (T)
  Tensor dy;       // (T, H)
};

}  // namespace

RmsNorm::RmsNorm(LayerContext context, std::string name, int64_t width, double epsilon)
    : context_(context), epsilon_(epsilon) {
  Parameter weight;
  weight.name = std::move(name);
  weight.shard = ShardSpec::whole({width});
  weight.decay = false;
  weight.replication = Replication::tensor;  // its input is cut by rows
  weight_ = context.store.add(std::move(weight));
}

Tensor RmsNorm::forward(const Tensor& x, const Micro&, Pass pass) {
  const Tensor y(x.device(), x.dtype(), {x.rows(), x.columns()});
  const Tensor inv_rms(x.device(), accumulation_type(x.dtype()), {x.rows()});
  rms_norm(context_.stream, x, context_.store.value(weight_), epsilon_, y, inv_rms);
  if (pass.tape) {
    Saved& saved = pass.tape->frame<Saved>(this);
    saved.x = x;
    saved.inv_rms = inv_rms;
  }
  return y;
}

Tensor RmsNorm::output(Tape& tape) const {
  const Saved& saved = tape.frame<Saved>(this);
  const Tensor y(saved.x.device(), saved.x.dtype(), {saved.x.rows(), saved.x.columns()});
  rms_norm(context_.stream, saved.x, context_.store.value(weight_), epsilon_, y, saved.inv_rms);
  return y;
}

Tensor RmsNorm::backward_input(const Tensor& dy, Tape& tape) {
  Saved& saved = tape.frame<Saved>(this);
  saved.dy = dy;
  const Tensor dx(dy.device(), dy.dtype(), {dy.rows(), dy.columns()});
  rms_norm_backward_input(context_.stream, saved.x, context_.store.value(weight_), saved.inv_rms,
                          dy, dx);
  return dx;
}

void RmsNorm::backward_weight(Tape& tape) {
  const Saved& saved = tape.frame<Saved>(this);
  rms_norm_backward_weight(context_.stream, saved.x, saved.inv_rms, saved.dy,
                           context_.store.grad(weight_));
  tape.release(this);
}

}  // namespace tessera
