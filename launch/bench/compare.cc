// SPDX-License-Identifier: Apache-2.0
// `tessera bench --compare FILE`: what an earlier run with --json told of the same.
#include <fstream>

#include <nlohmann/json.hpp>

#include "kernels/base/check.h"
#include "launch/bench/bench.h"

namespace tessera {

std::map<std::string, double> earlier_medians(const BenchCommand& command) {
  std::map<std::string, double> medians;
  if (command.compare.empty()) return medians;
  std::ifstream in(command.compare);
  check(in.good(), ErrorKind::usage, "--compare: cannot read", command.compare);
  std::string text;
  for (int number = 1; std::getline(in, text); ++number) {
    try {
      const auto line = nlohmann::json::parse(text);
      if (line.at("benchmark") != command.what || line.at("dtype") != command.dtype) continue;
      if (command.what == "step")
        medians["step"] = line.at("tokens_per_second");
      else
        for (const auto& one : line.at("cases")) medians[one.at("name")] = one.at("median");
    } catch (const nlohmann::json::exception& error) {
      fail(ErrorKind::usage, "--compare: line " + std::to_string(number) + " of " +
                                 command.compare +
                                 " is not from `tessera bench --json`: " + error.what());
    }
  }
  check(!medians.empty(), ErrorKind::usage,
        "--compare: " + command.compare + " has nothing of `tessera bench " + command.what +
            " --dtype " + command.dtype + " --json`");
  return medians;
}

}  // namespace tessera
