// SPDX-License-Identifier: Apache-2.0
// What an action throws, as "kind: message"; "no error" when it throws nothing.
#pragma once

#include <string>

#include "kernels/base/check.h"

namespace tessera::test {

template <typename Action>
std::string error_of(Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    return std::string(name(error.kind())) + ": " + error.what();
  }
  return "no error";
}

}  // namespace tessera::test
