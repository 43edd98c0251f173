// SPDX-License-Identifier: Apache-2.0
#include "trainer/safetensors.h"

#include <fstream>

#include <nlohmann/json.hpp>

namespace tessera {
namespace {

const char* safetensors_name(DType dtype) {
  switch (dtype) {
    case DType::f64: return "F64";
    case DType::f32: return "F32";
    case DType::bf16: return "BF16";
    case DType::f16: return "F16";
    case DType::f8_e4m3: return "F8_E4M3";
    case DType::i32: return "I32";
    case DType::i64: return "I64";
  }
  return "";
}

}  // namespace

void write_safetensors(const std::string& path, const std::vector<NamedTensor>& tensors) {
  nlohmann::ordered_json header;
  header["__metadata__"] = {{"format", "pt"}};  // transformers refuses files without it
  int64_t offset = 0;
  for (const NamedTensor& entry : tensors) {
    std::vector<int64_t> shape;
    for (int dim = 0; dim < entry.tensor.dims(); ++dim) shape.push_back(entry.tensor.extent(dim));
    header[entry.name] = {{"dtype", safetensors_name(entry.tensor.dtype())},
                          {"shape", shape},
                          {"data_offsets", {offset, offset + entry.tensor.bytes()}}};
    offset += entry.tensor.bytes();
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  const uint64_t length = text.size();
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(&length), sizeof length);
  out << text;
  for (const NamedTensor& entry : tensors)
    out.write(static_cast<const char*>(entry.tensor.data()), entry.tensor.bytes());
  out.close();
  check(out.good(), ErrorKind::storage, "cannot write " + path);
}

}  // namespace tessera
