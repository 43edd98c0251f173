// SPDX-License-Identifier: Apache-2.0
// Writes tensors in Hugging Face's safetensors format: u64 length of the header, JSON header padded
// with spaces to a multiple of 8, then the elements, row-major and little-endian.
#pragma once

#include <string>
#include <vector>

#include "kernels/base/tensor.h"

namespace tessera {

struct NamedTensor {
  std::string name;
  Tensor tensor;  // host, contiguous
};

// Throws Error{storage} when the file cannot be written.
void write_safetensors(const std::string& path, const std::vector<NamedTensor>& tensors);

}  // namespace tessera
