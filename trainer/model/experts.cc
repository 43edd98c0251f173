// SPDX-License-Identifier: Apache-2.0
#include "trainer/model/experts.h"

#include "kernels/base/trace.h"
#include "kernels/copy.h"
#include "kernels/elementwise.h"
#include "kernels/gemm.h"
#include "kernels/permute.h"
#include "kernels/transfer.h"
#include "trainer/model/expert_moves.h"
#include "trainer/model/init.h"
#include "trainer/model/linear.h"

namespace tessera {
namespace {

Parameter of_expert(Parameter parameter) {
  parameter.group = ParameterGroup::expert;
  return parameter;
}

Tensor like(const Tensor& x, int64_t rows, int64_t columns) {
  return Tensor(x.device(), x.dtype(), {rows, columns});
}

Tensor gradient_of(const LayerContext& context, Stack weight) {
  const Tensor value = context.store.value(weight);
  return Tensor(value.device(), accumulation_type(value.dtype()), {value.rows(), value.columns()});
}

// Each number a row of its own.
Tensor as_column(const Tensor& x) {
  return x.reshaped({x.size(), 1});
}

}  // namespace

Experts::Experts(LayerContext context, const std::string& prefix, const ModelOptions& model,
                 double buffer)
    : context_(context),
      prefix_(prefix + "experts."),
      parallel_(context.stream, context.comms.along(Axis::expert),
                context.comms.along(Axis::expert_tensor)),
      placement_(model.n_routed_experts, parallel_.expert_ranks()),
      buffer_(buffer) {
  const TensorParallel cut(context.stream, parallel_.expert_tensor());
  const int64_t width = model.moe_intermediate_size, hidden = model.hidden_size;
  width_ = even_part(width, cut.rank(), cut.size()).extent;
  place_of_expert_ =
      Tensor(context.stream.device(), DType::i32, {model.n_routed_experts}, MemoryClass::other);
  take_places(placement_);
  std::vector<Parameter> gate_up, down;
  for (const std::string& name : gate_up_names())
    gate_up.push_back(
        of_expert(cut_rows(matrix(name, width, hidden, model.initializer_range), cut)));
  for (const std::string& name : down_names())
    down.push_back(
        of_expert(cut_columns(matrix(name, hidden, width, residual_deviation(model)), cut)));
  gate_up_ = context.store.add(std::move(gate_up));
  down_ = context.store.add(std::move(down));
}

std::vector<std::string> Experts::gate_up_names() const {
  std::vector<std::string> names;
  for (const int64_t expert : placement_.experts_of(parallel_.expert_rank()))
    for (const char* which : {".gate_proj.weight", ".up_proj.weight"})
      names.push_back(prefix_ + std::to_string(expert) + which);
  return names;
}

std::vector<std::string> Experts::down_names() const {
  std::vector<std::string> names;
  for (const int64_t expert : placement_.experts_of(parallel_.expert_rank()))
    names.push_back(prefix_ + std::to_string(expert) + ".down_proj.weight");
  return names;
}

void Experts::take_places(const ExpertPlacement& placement) {
  placement_ = placement;
  upload(context_.stream, placement.place_of_expert(), place_of_expert_);
}

void Experts::place(const ExpertPlacement& placement) {
  for (const Stack& stack : weights())
    move_experts(context_.stream, context_.store, context_.comms, stack, placement_, placement);
  take_places(placement);
  const auto rename = [&](Stack stack, const std::vector<std::string>& names) {
    for (size_t i = 0; i < names.size(); ++i)
      context_.store.rename(stack.first + static_cast<int>(i), names[i]);
  };
  rename(gate_up_, gate_up_names());
  rename(down_, down_names());
}

Tensor Experts::grouped(const Tensor& rows, Stack weight, const ExpertRound& round,
                        bool transpose) const {
  const trace::Range range(context_.stream, "compute", [] { return "experts"; });
  const Tensor matrices = context_.store.value(weight);
  const int64_t experts = round.offsets.size() - 1;
  const Tensor out =
      like(rows, rows.rows(), transpose ? matrices.rows() / experts : matrices.columns());
  grouped_gemm(
      context_.stream,
      {.a = rows, .b = matrices, .c = out, .offsets = round.offsets, .transpose_b = transpose});
  return out;
}

Tensor Experts::product(const Tensor& gate_up) const {
  const Tensor y = like(gate_up, gate_up.rows(), width_);
  swiglu(context_.stream, gate_up.column_slice(0, width_), gate_up.column_slice(width_, width_), y);
  return y;
}

// The rows of x that belong to this round's slots (divisor: slots a row), to their experts.
Tensor Experts::send(const Saved& saved, size_t round, const Tensor& x, int64_t divisor,
                     const char* tag) const {
  const ExpertRound& route = saved.routes[round];
  Tensor slots = saved.slots;
  if (saved.routes.size() > 1) {
    slots = Tensor(x.device(), DType::i32, {route.sent_cut.rows()});
    for (size_t to = 0; to < route.sent.size(); ++to) {
      const auto [first, count] = route.sent[to];
      if (count > 0)
        copy(context_.stream, saved.slots.flat().column_slice(first, count),
             slots.flat().column_slice(route.sent_cut.part(static_cast<int64_t>(to)).first, count));
    }
  }
  const Tensor rows = like(x, slots.size(), x.columns());
  {
    const trace::Range range(context_.stream, "compute", [] { return "permutation"; });
    gather_rows(context_.stream, x, slots, divisor, rows);
  }
  return parallel_.dispatch(route, rows, tag);
}

// The experts' results to their places among my slots, sorted (t k, C): made with the first round,
// which is all of it when there is no other.
void Experts::bring_back(const Saved& saved, size_t round, const Tensor& rows, Tensor& sorted,
                         const char* tag) const {
  const ExpertRound& route = saved.routes[round];
  const Tensor back = parallel_.combine(route, rows, tag);
  if (saved.routes.size() == 1) {
    sorted = back;
    return;
  }
  if (round == 0) sorted = like(back, saved.slots.size(), back.columns());
  for (size_t to = 0; to < route.sent.size(); ++to) {
    const auto [first, count] = route.sent[to];
    if (count > 0)
      copy(context_.stream,
           back.row_slice(route.sent_cut.part(static_cast<int64_t>(to)).first, count),
           sorted.row_slice(first, count));
  }
}

void Experts::forward_round(const Saved& saved, size_t index, const Tensor& x, Round& round) const {
  round.rows = send(saved, index, x, saved.position.columns(), "expert rows");
  round.gate_up = grouped(round.rows, gate_up_, saved.routes[index], true);
}

Tensor Experts::forward(const Tensor& x, const RouterChoice& choice, bool remember,
                        Saved& saved) const {
  Stream& stream = context_.stream;
  saved.slots = Tensor(x.device(), DType::i32, {choice.index.size()});
  saved.position = Tensor(x.device(), DType::i32, {choice.index.rows(), choice.index.columns()});
  saved.weights = choice.weights;
  const Tensor offsets(x.device(), DType::i64, {place_of_expert_.size() + 1});
  {
    const trace::Range range(context_.stream, "compute", [] { return "permutation"; });
    sort_slots(stream, choice.index, place_of_expert_, saved.slots, saved.position, offsets);
  }
  saved.routes = parallel_.routes(offsets, saved.slots.size(), buffer_);
  Tensor sorted;
  for (size_t i = 0; i < saved.routes.size(); ++i) {
    Round round;
    forward_round(saved, i, x, round);
    bring_back(saved, i, grouped(product(round.gate_up), down_, saved.routes[i], true), sorted,
               "expert outputs");
    if (remember && saved.routes.size() == 1) saved.rounds.push_back(round);
  }
  const Tensor y = like(x, x.rows(), x.columns());
  const trace::Range range(context_.stream, "compute", [] { return "permutation"; });
  combine_rows(stream, sorted, saved.position, saved.weights, y);
  return y;
}

// With h = silu(gate) up, y_i = W_down h: from dy the gradients of the weight, <W_down^T dy, h>,
// and of gate and up. Returns dweights (n).
Tensor Experts::backward_round(const Saved& saved, size_t index, const Tensor& dy,
                               Round& round) const {
  Stream& stream = context_.stream;
  const ExpertRound& route = saved.routes[index];
  round.dy = send(saved, index, dy, saved.position.columns(), "expert output gradients");
  const Tensor weights = send(saved, index, as_column(saved.weights), 1, "expert weights");
  const Tensor dproduct = grouped(round.dy, down_, route, false);
  round.weighted = product(round.gate_up);
  const Tensor dweights = like(weights, weights.rows(), 1);
  weigh_rows(stream, weights, dproduct, round.weighted, dweights);
  round.dgate_up = like(dproduct, dproduct.rows(), 2 * width_);
  swiglu_backward(stream, round.gate_up.column_slice(0, width_),
                  round.gate_up.column_slice(width_, width_), dproduct,
                  round.dgate_up.column_slice(0, width_),
                  round.dgate_up.column_slice(width_, width_));
  round.gate_up = {};
  return dweights;
}

// This round's gradients of the weights, written or added.
void Experts::add_gradients(const Round& round, const ExpertRound& route,
                            const ParameterStore::GradTarget& dgate_up,
                            const ParameterStore::GradTarget& ddown) const {
  const trace::Range range(context_.stream, "compute", [] { return "experts"; });
  const auto add_to = [&](const ParameterStore::GradTarget& sums, const Tensor& a,
                          const Tensor& b) {
    grouped_gemm(context_.stream, {.a = a,
                                   .b = b,
                                   .c = sums.tensor,
                                   .offsets = route.offsets,
                                   .weights = true,
                                   .accumulate = sums.accumulate});
  };
  add_to(ddown, round.dy, round.weighted);
  add_to(dgate_up, round.dgate_up, round.rows);
}

Experts::InputGradient Experts::backward_input(const Tensor& x, const Tensor& dy,
                                               Saved& saved) const {
  const bool kept = !saved.rounds.empty();
  if (!kept) {
    saved.dgate_up = gradient_of(context_, gate_up_);
    saved.ddown = gradient_of(context_, down_);
  }
  Tensor sorted_dx, sorted_dweights;
  for (size_t i = 0; i < saved.routes.size(); ++i) {
    Round anew;
    Round& round = kept ? saved.rounds[i] : anew;
    if (!kept) forward_round(saved, i, x, round);
    const Tensor dweights = backward_round(saved, i, dy, round);
    if (!kept) add_gradients(round, saved.routes[i], {saved.dgate_up, i > 0}, {saved.ddown, i > 0});
    bring_back(saved, i, grouped(round.dgate_up, gate_up_, saved.routes[i], false), sorted_dx,
               "expert row gradients");
    bring_back(saved, i, dweights, sorted_dweights, "expert weight gradients");
  }
  InputGradient out{like(x, x.rows(), x.columns()),
                    like(saved.weights, saved.weights.rows(), saved.weights.columns())};
  const trace::Range range(context_.stream, "compute", [] { return "permutation"; });
  combine_rows(context_.stream, sorted_dx, saved.position, {}, out.dx);
  combine_rows(context_.stream, sorted_dweights, as_column(saved.position), {},
               as_column(out.dweights));
  return out;
}

void Experts::backward_weight(Saved& saved) const {
  const auto dgate_up = context_.store.grad_target(gate_up_);
  const auto ddown = context_.store.grad_target(down_);
  if (!saved.rounds.empty())
    return add_gradients(saved.rounds.front(), saved.routes.front(), dgate_up, ddown);
  const auto add_to = [&](const ParameterStore::GradTarget& sums, const Tensor& gradient) {
    if (sums.accumulate)
      add(context_.stream, sums.tensor, gradient, sums.tensor);
    else
      copy(context_.stream, gradient, sums.tensor);
  };
  add_to(dgate_up, saved.dgate_up);
  add_to(ddown, saved.ddown);
}

}  // namespace tessera
