// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/gpu_predictions.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "kernels/base/check.h"

namespace tessera::bench {

Predictions read_predictions(const std::string& path) {
  std::ifstream in(path);
  check(in.good(), ErrorKind::usage, path, "cannot be read");
  Predictions all;
  std::string line;
  for (int number = 1; std::getline(in, line); ++number) {
    if (line.empty() || line.front() == '#') continue;
    const size_t first = line.find('\t');
    const size_t second = first == std::string::npos ? first : line.find('\t', first + 1);
    const std::string where = path + ":" + std::to_string(number) + ":";
    check(second != std::string::npos, ErrorKind::usage, where, "not NAME, UNIT and NUMBER");
    char* end = nullptr;
    const double value = std::strtod(line.c_str() + second + 1, &end);
    check(*end == '\0' && value > 0, ErrorKind::usage, where, "no number above 0 in", line);
    all[line.substr(0, first)] = {line.substr(first + 1, second - first - 1), value};
  }
  return all;
}

const Prediction* prediction_of(const Predictions& all, const std::string& kernel) {
  const Prediction* best = nullptr;
  size_t length = 0;
  for (const auto& [name, prediction] : all) {
    if (kernel.compare(0, name.size(), name) != 0 || name.size() < length) continue;
    best = &prediction;
    length = name.size();
  }
  return best;
}

std::string beside(const Prediction& predicted, double measured) {
  constexpr double kFarOff = 0.25;
  const double ratio = measured / predicted.value;
  char text[96];
  std::snprintf(text, sizeof text, "predicted %g %s, %.2f of it%s", predicted.value,
                predicted.unit.c_str(), ratio,
                std::abs(ratio - 1) > kFarOff ? ", look here first" : "");
  return text;
}

}  // namespace tessera::bench
