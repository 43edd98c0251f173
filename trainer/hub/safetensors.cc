// SPDX-License-Identifier: Apache-2.0
#include "trainer/hub/safetensors.h"

#include <fstream>

#include "checkpoint/safetensors.h"

namespace tessera {

void write_safetensors(const std::string& path, const std::vector<NamedTensor>& tensors) {
  std::vector<SafetensorsShape> shapes;
  for (const NamedTensor& entry : tensors) {
    shapes.push_back({entry.name, entry.tensor.dtype(), {}});
    for (int dim = 0; dim < entry.tensor.dims(); ++dim)
      shapes.back().shape.push_back(entry.tensor.extent(dim));
  }
  std::ofstream out(path, std::ios::binary);
  out << safetensors_header(shapes);
  for (const NamedTensor& entry : tensors)
    out.write(static_cast<const char*>(entry.tensor.data()), entry.tensor.bytes());
  out.close();
  check(out.good(), ErrorKind::storage, "cannot write " + path);
}

}  // namespace tessera
