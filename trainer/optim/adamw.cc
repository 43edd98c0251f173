// SPDX-License-Identifier: Apache-2.0
#include "trainer/optim/adamw.h"

#include <cmath>

#include "kernels/update.h"

namespace tessera {
namespace {

enum State { kFirstMoment, kSecondMoment };

class AdamWOptimizer final : public Optimizer {
 public:
  AdamWOptimizer(const OptimizerOptions& options, const ParameterStore& store) : options_(options) {
    for (const Piece& piece : store.pieces())
      parts_.push_back({.grad = store.grad(piece),
                        .master = store.master(piece),
                        .m = store.state(kFirstMoment, piece),
                        .v = store.state(kSecondMoment, piece),
                        .compute = store.value(piece),
                        .decay = store.at(piece.parameter).decay});
  }

  std::array<double, kNumChoices> choice(double learning_rate, int64_t update) const override {
    const auto t = static_cast<double>(update);
    return {learning_rate, 1 - std::pow(options_.betas[0], t), 1 - std::pow(options_.betas[1], t)};
  }

  void step(Stream& stream, const Tensor& controls) override {
    const AdamW adamw{.beta1 = options_.betas[0],
                      .beta2 = options_.betas[1],
                      .epsilon = options_.eps,
                      .weight_decay = options_.weight_decay};
    adamw_update(stream, adamw, controls, parts_);
  }

 private:
  OptimizerOptions options_;
  std::vector<AdamWPart> parts_;
};

}  // namespace

OptimizerKind adamw_kind() {
  return {.name = OptimizerName::adamw,
          .states = {{"exp_avg", "first moment"}, {"exp_avg_sq", "second moment"}},
          .dealing = Dealing::rows,
          .make = [](const OptimizerOptions& options,
                     ParameterStore& store) -> std::unique_ptr<Optimizer> {
            return std::make_unique<AdamWOptimizer>(options, store);
          }};
}

}  // namespace tessera
