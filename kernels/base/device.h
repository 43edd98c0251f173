// SPDX-License-Identifier: Apache-2.0
// A Device is where tensors live and kernels run: the CPU, the CPU's double-precision reference
// backend, a GPU, or the dry device, where nothing is computed and tensors have shapes and
// addresses but no memory: what a program would do and need, at any size. Its memory is counted as
// the host's would be, or, with index 1, as a GPU's. A small value with equality.
#pragma once

#include <string>

namespace tessera {

struct Device {
  enum class Kind { cpu, reference, cuda, dry };
  Kind kind = Kind::cpu;
  int index = 0;

  // Its memory can be read by the host.
  bool is_host() const { return kind == Kind::cpu || kind == Kind::reference; }
  bool plays_gpu() const { return kind == Kind::dry && index == 1; }
  friend bool operator==(const Device&, const Device&) = default;
};

std::string name(Device device);  // "cpu", "reference", "cuda:1", "dry"

}  // namespace tessera
