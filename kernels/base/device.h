// SPDX-License-Identifier: Apache-2.0
// A Device is where tensors live and kernels run: the CPU, the CPU's double-precision reference
// backend, or a GPU. A small value with equality.
#pragma once

#include <string>

namespace tessera {

struct Device {
  enum class Kind { cpu, reference, cuda };
  Kind kind = Kind::cpu;
  int index = 0;

  bool is_host() const { return kind != Kind::cuda; }  // its memory can be read by the host
  friend bool operator==(const Device&, const Device&) = default;
};

std::string name(Device device);  // "cpu", "reference", "cuda:1"

}  // namespace tessera
