// SPDX-License-Identifier: Apache-2.0
// Tensors of a safetensors file that is known to be sound, in f32.
#pragma once

#include <cstring>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "kernels/base/check.h"

namespace tessera::test {

struct StoredTensor {
  std::vector<int64_t> shape;
  std::vector<float> elements;
};

inline std::map<std::string, StoredTensor> stored_tensors(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  check(file.good(), ErrorKind::usage, "cannot read", path);
  std::ostringstream text;
  text << file.rdbuf();
  const std::string bytes = text.str();
  uint64_t header = 0;
  std::memcpy(&header, bytes.data(), sizeof header);
  std::map<std::string, StoredTensor> tensors;
  const auto entries = nlohmann::json::parse(bytes.substr(sizeof header, header));
  for (const auto& [name, entry] : entries.items()) {
    if (name == "__metadata__") continue;
    check(entry["dtype"] == "F32", name, "is not f32");
    StoredTensor& tensor = tensors[name];
    tensor.shape = entry["shape"].get<std::vector<int64_t>>();
    const auto begin = entry["data_offsets"][0].get<size_t>();
    const auto end = entry["data_offsets"][1].get<size_t>();
    tensor.elements.resize((end - begin) / sizeof(float));
    std::memcpy(tensor.elements.data(), bytes.data() + sizeof header + header + begin, end - begin);
  }
  return tensors;
}

}  // namespace tessera::test
