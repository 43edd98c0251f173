// SPDX-License-Identifier: Apache-2.0
// tests/golden/op_golden_torch113.json: results of PyTorch 1.13.1 in double precision, for inputs
// that follow one rule.
#pragma once

#include <cmath>
#include <fstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/support/numeric.h"

namespace tessera::test {

inline const nlohmann::json& golden() {
  static const nlohmann::json values = nlohmann::json::parse(
      std::ifstream(std::string(TESSERA_SOURCE_DIR) + "/tests/golden/op_golden_torch113.json"));
  return values;
}

// The file's input rule: x[i] = sin(a (i + 1)) + b cos(1.7 i).
inline Tensor golden_input(int64_t rows, int64_t columns, double a = 0.37) {
  const Tensor x(kReference, DType::f64, {rows, columns});
  for (int64_t i = 0; i < x.size(); ++i)
    x.as<double>()[i] =
        std::sin(a * static_cast<double>(i + 1)) + 0.11 * std::cos(1.7 * static_cast<double>(i));
  return x;
}

// The numbers of a nested array, outermost index slowest.
inline void flatten(const nlohmann::json& array, std::vector<double>& into) {
  for (const auto& element : array) {
    if (element.is_array())
      flatten(element, into);
    else
      into.push_back(element.get<double>());
  }
}
inline Tensor golden_tensor(const nlohmann::json& array, int64_t rows, int64_t columns) {
  std::vector<double> flat;
  flatten(array, flat);
  EXPECT_EQ(static_cast<int64_t>(flat.size()), rows * columns);
  const Tensor out(kReference, DType::f64, {rows, columns});
  std::copy(flat.begin(), flat.end(), out.as<double>());
  return out;
}

inline void expect_golden(const Tensor& actual, const Tensor& truth, double tolerance) {
  const std::vector<double> a = values_of(actual), b = values_of(truth);
  for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], tolerance) << "element " << i;
}

}  // namespace tessera::test
