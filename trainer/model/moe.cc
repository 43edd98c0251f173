// SPDX-License-Identifier: Apache-2.0
#include "trainer/model/moe.h"

#include "kernels/elementwise.h"
#include "trainer/model/experts.h"
#include "trainer/model/init.h"
#include "trainer/model/router_layer.h"
#include "trainer/model/routing.h"
#include "trainer/model/swiglu.h"

namespace tessera {
namespace {

struct Saved {
  Tensor x;  // (t, H)
  RouterChoice choice;
  Experts::Saved experts;
  Tensor dlogits;  // (t, E)
};

std::unique_ptr<SwiGlu> shared_experts(LayerContext context, const std::string& prefix,
                                       const ModelOptions& model) {
  if (model.n_shared_experts == 0) return nullptr;
  return std::make_unique<SwiGlu>(context, prefix + "shared_experts.", model.hidden_size,
                                  model.n_shared_experts * model.moe_intermediate_size,
                                  model.initializer_range, residual_deviation(model));
}

}  // namespace

struct MixtureOfExperts::Parts {
  Parts(LayerContext of, const std::string& prefix, const ModelOptions& model,
        const RouterOptions& balancing, int64_t layer_number)
      : context(of),
        layer(layer_number),
        router(of, prefix, model, balancing, layer_number),
        experts(of, prefix, model, balancing.expert_buffer),
        shared(shared_experts(of, prefix, model)) {}

  LayerContext context;
  int64_t layer;
  Router router;
  Experts experts;
  std::unique_ptr<SwiGlu> shared;  // null: the model has none
};

MixtureOfExperts::MixtureOfExperts(LayerContext context, const std::string& prefix,
                                   const ModelOptions& model, const RouterOptions& balancing,
                                   int64_t layer)
    : parts_(std::make_unique<Parts>(context, prefix, model, balancing, layer)) {
  if (context.routing) context.routing->hold(layer, &parts_->experts);
}

MixtureOfExperts::~MixtureOfExperts() = default;

Tensor MixtureOfExperts::forward(const Tensor& x, const Micro& micro, Pass pass) {
  Saved saved;
  bool counted = false;
  saved.choice = parts_->router.choose(x, micro, pass.tape != nullptr, counted);
  const Tensor y = parts_->experts.forward(x, saved.choice, pass.tape != nullptr, saved.experts);
  if (counted)
    parts_->context.routing->add_rounds(static_cast<int64_t>(saved.experts.routes.size()) - 1);
  if (parts_->shared) add(parts_->context.stream, y, parts_->shared->forward(x, micro, pass), y);
  if (!pass.tape) return y;
  saved.x = x;
  pass.tape->frame<Saved>(this) = std::move(saved);
  return y;
}

Tensor MixtureOfExperts::backward_input(const Tensor& dy, Tape& tape) {
  Saved& saved = tape.frame<Saved>(this);
  auto [dx, dweights] = parts_->experts.backward_input(saved.x, dy, saved.experts);
  saved.dlogits = parts_->router.dlogits(saved.choice, dweights);
  saved.choice = {};
  if (parts_->shared) add(parts_->context.stream, dx, parts_->shared->backward_input(dy, tape), dx);
  parts_->router.backward_input(saved.dlogits, dx);
  return dx;
}

void MixtureOfExperts::backward_weight(Tape& tape) {
  Saved& saved = tape.frame<Saved>(this);
  parts_->experts.backward_weight(saved.experts);
  parts_->router.backward_weight(saved.dlogits, saved.x);
  if (parts_->shared) parts_->shared->backward_weight(tape);
  tape.release(this);
}

std::vector<Stack> MixtureOfExperts::weights() const {
  std::vector<Stack> all = {parts_->router.weight()};
  for (const Stack& weight : parts_->experts.weights()) all.push_back(weight);
  if (parts_->shared)
    for (const Stack& weight : parts_->shared->weights()) all.push_back(weight);
  return all;
}

void MixtureOfExperts::drop_input(Tape& tape) {
  tape.frame<Saved>(this).x = {};
  if (parts_->shared) parts_->shared->drop_input(tape);
}

void MixtureOfExperts::restore_input(Tape& tape, const Tensor& x) {
  tape.frame<Saved>(this).x = x;
  if (parts_->shared) parts_->shared->restore_input(tape, x);
}

}  // namespace tessera
