// SPDX-License-Identifier: Apache-2.0
// One branch of a transformer block: y = x + inner(norm(x)). A block is two of them, attention and
// feed-forward, each a Layer, so that a schedule may later treat them apart.
#pragma once

#include <memory>

#include "kernels/base/trace.h"
#include "trainer/model/norm.h"

namespace tessera {

class ResidualBranch : public Layer {
 public:
  // name: in traces, static storage.
  ResidualBranch(LayerContext context, const char* name, std::unique_ptr<RmsNorm> norm,
                 std::unique_ptr<Layer> inner)
      : context_(context), name_(name), norm_(std::move(norm)), inner_(std::move(inner)) {}
  Tensor forward(const Tensor& x, const Micro& micro, Pass pass) override;  // (T, H) -> (T, H)
  Tensor backward_input(const Tensor& dy, Tape& tape) override;
  void backward_weight(Tape& tape) override;
  std::vector<Stack> weights() const override;

 private:
  trace::Range range() const {
    return trace::Range(context_.stream, "compute", [this] { return name_; });
  }
  LayerContext context_;
  const char* name_;
  std::unique_ptr<RmsNorm> norm_;
  std::unique_ptr<Layer> inner_;
};

}  // namespace tessera
