// SPDX-License-Identifier: Apache-2.0
#include "trainer/optim/optimizer.h"

#include "kernels/base/check.h"
#include "trainer/optim/adamw.h"

namespace tessera {

const std::vector<OptimizerKind>& optimizer_kinds() {
  static const std::vector<OptimizerKind> kinds = {adamw_kind()};
  return kinds;
}

const OptimizerKind& optimizer_kind(OptimizerName name) {
  for (const OptimizerKind& kind : optimizer_kinds())
    if (kind.name == name) return kind;
  fail(ErrorKind::internal, "optimizer.name: no row for", name_of(name));
}

std::vector<std::string> state_roles(OptimizerName name) {
  std::vector<std::string> roles;
  for (const StateRole& state : optimizer_kind(name).states) roles.emplace_back(state.role);
  return roles;
}

std::unique_ptr<Optimizer> make_optimizer(const OptimizerKind& kind,
                                          const OptimizerOptions& options, ParameterStore& store) {
  check(store.num_states() == 0, "an optimizer of", name_of(kind.name),
        "for parameters that another one updates");
  for (const StateRole& state : kind.states) store.attach_state(state.role);
  return kind.make(options, store);
}

}  // namespace tessera
