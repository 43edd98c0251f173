// SPDX-License-Identifier: Apache-2.0
// DeepSeekMoE (arXiv:2401.06066; DeepSeek-V3, arXiv:2412.19437, eq 12-15):
//   y = sum_i w_i FFN_i(x) + FFN_shared(x)
// over the experts that the router chose for each token. Every token reaches all of its experts,
// whatever their load. The shared experts are one network of their summed width. Under tensor
// parallelism x and y are cut by rows (tensor_parallel.h): the router and the experts work on these
// rows, and the expert grid spans them (process_grid.h).
#pragma once

#include <memory>
#include <string>

#include "trainer/model/layer.h"
#include "trainer/model/options.h"

namespace tessera {

class MixtureOfExperts : public Layer {
 public:
  // prefix: "model.layers.3.mlp."; layer: 3. context.routing may be null: no biases, no counts.
  MixtureOfExperts(LayerContext context, const std::string& prefix, const ModelOptions& model,
                   const RouterOptions& balancing, int64_t layer);
  ~MixtureOfExperts() override;
  Tensor forward(const Tensor& x, const Micro& micro, Pass pass) override;  // (t, H) -> (t, H)
  Tensor backward_input(const Tensor& dy, Tape& tape) override;
  void backward_weight(Tape& tape) override;
  std::vector<Stack> weights() const override;
  void drop_input(Tape& tape) override;
  void restore_input(Tape& tape, const Tensor& x) override;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace tessera
