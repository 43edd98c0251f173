// SPDX-License-Identifier: Apache-2.0
#include "launch/run/scalar_lines.h"

#include <sstream>

#include "kernels/base/check.h"

namespace tessera {

std::string to_lines(const std::map<std::string, std::string>& scalars) {
  std::string text;
  for (const auto& [name, value] : scalars) {
    check(name.find_first_of("=\n") == std::string::npos && value.find('\n') == std::string::npos,
          "scalar", name, "does not fit into one line");
    text += name + "=" + value + "\n";
  }
  return text;
}

std::map<std::string, std::string> from_lines(const std::string& text) {
  std::map<std::string, std::string> scalars;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    const size_t equals = line.find('=');
    check(equals != std::string::npos, "no NAME=VALUE: '" + line + "'");
    scalars[line.substr(0, equals)] = line.substr(equals + 1);
  }
  return scalars;
}

}  // namespace tessera
