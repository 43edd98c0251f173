// SPDX-License-Identifier: Apache-2.0
#include "parallel/transport/progress.h"

#include <algorithm>
#include <vector>

namespace tessera {
namespace {

std::vector<Progressing*>& everything() {
  static std::vector<Progressing*>& all = *new std::vector<Progressing*>;
  return all;
}

}  // namespace

Progressing::Progressing() {
  everything().push_back(this);
}

Progressing::~Progressing() {
  std::erase(everything(), this);
}

bool progress_everything() {
  bool moved = false;
  for (Progressing* each : everything()) moved |= each->progress();
  return moved;
}

bool anything_must_be_polled() {
  return std::any_of(everything().begin(), everything().end(),
                     [](const Progressing* each) { return each->must_be_polled(); });
}

}  // namespace tessera
