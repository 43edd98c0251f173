// SPDX-License-Identifier: Apache-2.0
// The speeds that were predicted for an H200 before anything was measured (gpu_predictions.tsv). A
// rate beside its prediction shows what a table of rates alone does not.
#pragma once

#include <map>
#include <string>

namespace tessera::bench {

struct Prediction {
  std::string unit;  // "% of copy", "TFLOP/s" or "ms"
  double value = 0;
};
// By name, which is that of a kernel or the beginning of it. Throws Error{usage} naming file and
// line for one that is not NAME <tab> UNIT <tab> NUMBER.
using Predictions = std::map<std::string, Prediction>;
Predictions read_predictions(const std::string& path);

// The longest name that `kernel` begins with; null: nothing was predicted.
const Prediction* prediction_of(const Predictions& all, const std::string& kernel);

// "predicted 230, 0.87 of it", and where it is more than a quarter off ", look here first".
std::string beside(const Prediction& predicted, double measured);

}  // namespace tessera::bench
