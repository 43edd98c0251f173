// SPDX-License-Identifier: Apache-2.0
#include "trainer/verify/judge.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "kernels/base/check.h"

namespace tessera {
namespace {

struct Distance {
  double squares = 0;    // of the difference
  double reference = 0;  // of the reference
  void add(const std::vector<double>& truth, const std::vector<double>& values) {
    for (size_t i = 0; i < truth.size(); ++i) {
      const double difference = values[i] - truth[i];
      squares += difference * difference;
      reference += truth[i] * truth[i];
    }
  }
  double relative() const {
    if (squares == 0) return 0;
    const double error = std::sqrt(squares / reference);
    return std::isfinite(error) ? error : std::numeric_limits<double>::infinity();
  }
};

// "model.layers.3.input_layernorm.weight" -> "small tensors of model.layers.3".
std::string pool_of(const std::string& name) {
  constexpr std::string_view kLayers = "model.layers.";
  if (!name.starts_with(kLayers)) return "small tensors outside the layers";
  return "small tensors of " + name.substr(0, name.find('.', kLayers.size()));
}

const std::vector<double>& find(const TensorMap& tensors, const std::string& name,
                                const std::vector<double>& truth) {
  const auto found = tensors.find(name);
  check(found != tensors.end() && found->second.size() == truth.size(), "verify: a run has no",
        name, "or one of another size");
  return found->second;
}

Distance distance(const TensorMap& truth, const TensorMap& values) {
  Distance all;
  for (const auto& [name, reference] : truth) all.add(reference, find(values, name, reference));
  return all;
}

double relative(double truth, double value) {
  const double error = std::abs(value - truth) / std::max(std::abs(truth), 1e-300);
  return std::isfinite(error) ? error : std::numeric_limits<double>::infinity();
}

// The tensor of a state that is furthest from the reference.
std::string furthest(const TensorMap& truth, const TensorMap& values) {
  std::string worst;
  double most = -1;
  for (const auto& [name, reference] : truth) {
    Distance one;
    one.add(reference, find(values, name, reference));
    if (!(one.relative() <= most)) {
      most = one.relative();
      worst = name;
    }
  }
  return worst;
}

std::string in_words(const char* what, double error, double limit) {
  char text[128];
  std::snprintf(text, sizeof text, "%s: error %.1e, bound %.1e", what, error, limit);
  return text;
}

}  // namespace

Errors errors_against(const Captured& reference, const Captured& run) {
  Errors errors;
  std::map<std::string, Distance> gradients;
  std::map<std::string, TensorMap> pools;
  for (const auto& [name, truth] : reference.gradients) {
    const bool small = truth.size() < Errors::kPooledElements;
    if (small) pools[pool_of(name)][name] = truth;
    gradients[small ? pool_of(name) : name].add(truth, find(run.gradients, name, truth));
  }
  for (const auto& [pool, members] : pools)
    errors.furthest[pool] = furthest(members, run.gradients);
  for (const auto& [name, each] : gradients) errors.gradients[name] = each.relative();
  for (size_t step = 0; step < reference.losses.size(); ++step) {
    errors.loss = std::max(errors.loss, relative(reference.losses[step], run.losses[step]));
    errors.grad_norm =
        std::max(errors.grad_norm, relative(reference.grad_norms[step], run.grad_norms[step]));
  }
  for (const auto& [what, state] : reference.states)
    errors.optimizer = std::max(errors.optimizer, distance(state, run.states.at(what)).relative());
  errors.weights = distance(reference.weights, run.weights).relative();
  return errors;
}

std::optional<std::string> first_difference(const Captured& a, const Captured& b) {
  for (size_t step = 0; step < a.losses.size(); ++step) {
    const std::string at = " of step " + std::to_string(step + 1);
    if (step == 0)
      for (const auto& [name, values] : a.gradients)
        if (find(b.gradients, name, values) != values) return "gradient of " + name;
    if (a.losses[step] != b.losses[step]) return "loss" + at;
    if (a.grad_norms[step] != b.grad_norms[step]) return "gradient norm" + at;
  }
  const auto differs = [](const TensorMap& in, const TensorMap& other) -> const std::string* {
    for (const auto& [name, values] : in)
      if (find(other, name, values) != values) return &name;
    return nullptr;
  };
  if (const std::string* name = differs(a.weights, b.weights)) return "weight " + *name;
  for (const auto& [what, state] : a.states)
    if (const std::string* name = differs(state, b.states.at(what))) return what + " of " + *name;
  return std::nullopt;
}

Verdict judge(const Captured& reference, const Captured& run, const Bound& bound,
              const Captured* twin) {
  Verdict verdict;
  verdict.errors = errors_against(reference, run);
  double worst_ratio = -1;
  for (const auto& [name, error] : verdict.errors.gradients) {
    const double limit = bound.of(bound.one_rank.gradients.at(name));
    if (error / limit <= worst_ratio) continue;
    worst_ratio = error / limit;
    const auto pool = verdict.errors.furthest.find(name);
    verdict.worst_gradient = pool == verdict.errors.furthest.end() ? name : pool->second;
    verdict.worst_error = error;
    verdict.worst_bound = limit;
  }
  const auto differs = [&](std::string reason) {
    verdict.kind = Verdict::Kind::differs;
    if (verdict.reason.empty()) verdict.reason = std::move(reason);
  };
  if (!(worst_ratio <= 1))
    differs(in_words(("gradient of " + verdict.worst_gradient).c_str(), verdict.worst_error,
                     verdict.worst_bound));
  const Errors& mine = verdict.errors;
  const Errors& one = bound.one_rank;
  const double moved = reference.losses.size() > 1 ? kCurvature * bound.of(one.weights) : 0;
  const std::tuple<const char*, double, double> rest[] = {
      {"gradient norm", mine.grad_norm, bound.of(one.grad_norm)},
      {"loss", mine.loss, bound.of(one.loss)},
      {"optimizer state", mine.optimizer, bound.of(one.optimizer) + moved},
      {"weights", mine.weights, bound.of(one.weights)}};
  for (const auto& [what, error, limit] : rest)
    if (!(error <= limit))
      differs(in_words(what, error, limit) + ", most in " +
              furthest(reference.weights, run.weights));
  if (!(run.flips.margin <= bound.flip_margin))
    differs(in_words("a token chose other experts than in the base run, beyond rounding",
                     run.flips.margin, bound.flip_margin));
  if (twin == nullptr) return verdict;
  if (const auto difference = first_difference(*twin, run))
    differs("not bit-equal: " + *difference);
  else if (verdict.kind == Verdict::Kind::within_bound)
    verdict.kind = Verdict::Kind::bit_equal;
  return verdict;
}

}  // namespace tessera
