// SPDX-License-Identifier: Apache-2.0
// The routed experts of one layer that this rank holds, and the way of rows to them and back:
// sum_i w_i FFN_i(x) with FFN a SwiGLU network of width moe_intermediate_size, as three grouped
// products over the rows that arrive, none of them padding (kernels/gemm.h). Weights, in the order
// of the experts' places: gate_up (E_here 2 w, H) of gate_proj and up_proj in turn, down (E_here H,
// w); w the width, cut over the expert_tensor ranks.
//
// When a rank receives more than its buffer holds the layer runs in rounds (expert_parallel.h).
// Then nothing of them is kept: the backward pass sends and computes them again. It makes the
// weights' gradients at once, beside the store's, because the second half comes when weights may be
// gone (ZeRO 3); so much memory is known beforehand, whatever the load.
#pragma once

#include <string>
#include <vector>

#include "parallel/strategy/expert_parallel.h"
#include "trainer/model/layer.h"
#include "trainer/model/router_layer.h"
#include "trainer/model/routing.h"

namespace tessera {

class Experts : public MovableExperts {
 public:
  // What one round leaves at the experts; n rows.
  struct Round {
    Tensor rows;      // (n, H) tokens
    Tensor gate_up;   // (n, 2 w)
    Tensor dy;        // (n, H), not times the weights
    Tensor weighted;  // (n, w): silu(gate) up times the weights
    Tensor dgate_up;  // (n, 2 w)
  };
  // Of one microbatch.
  struct Saved {
    Tensor slots;     // (t k) i32, by place
    Tensor position;  // (t, k) i32
    Tensor weights;   // (t, k)
    ExpertRoutes routes;
    std::vector<Round> rounds;  // kept; empty when there are several
    Tensor dgate_up, ddown;     // of the weights, when there are several
  };
  struct InputGradient {
    Tensor dx;        // (t, H)
    Tensor dweights;  // (t, k)
  };

  // buffer: RouterOptions::expert_buffer.
  Experts(LayerContext context, const std::string& prefix, const ModelOptions& model,
          double buffer);
  // remember: keep what the halves below need.
  Tensor forward(const Tensor& x, const RouterChoice& choice, bool remember, Saved& saved) const;
  InputGradient backward_input(const Tensor& x, const Tensor& dy, Saved& saved) const;
  void backward_weight(Saved& saved) const;
  std::vector<Stack> weights() const { return {gate_up_, down_}; }
  const ExpertPlacement& placement() const override { return placement_; }
  void place(const ExpertPlacement& placement) override;

 private:
  Tensor send(const Saved& saved, size_t round, const Tensor& x, int64_t divisor,
              const char* tag) const;
  void bring_back(const Saved& saved, size_t round, const Tensor& rows, Tensor& sorted,
                  const char* tag) const;
  Tensor product(const Tensor& gate_up) const;
  void forward_round(const Saved& saved, size_t index, const Tensor& x, Round& round) const;
  Tensor backward_round(const Saved& saved, size_t index, const Tensor& dy, Round& round) const;
  void add_gradients(const Round& round, const ExpertRound& route,
                     const ParameterStore::GradTarget& dgate_up,
                     const ParameterStore::GradTarget& ddown) const;
  Tensor grouped(const Tensor& rows, Stack weight, const ExpertRound& round, bool transpose) const;

  void take_places(const ExpertPlacement& placement);
  std::vector<std::string> gate_up_names() const;
  std::vector<std::string> down_names() const;

  LayerContext context_;
  std::string prefix_;
  ExpertParallel parallel_;
  ExpertPlacement placement_;
  double buffer_;
  int64_t width_;  // this rank's
  Tensor place_of_expert_;
  Stack gate_up_, down_;
};

}  // namespace tessera
