// SPDX-License-Identifier: Apache-2.0
// Hugging Face's safetensors, read strictly: u64 length of the header, a JSON object, then the
// elements, row-major and little-endian, without a hole, an overlap or a byte too many
// (github.com/huggingface/safetensors). A file that a stranger made is refused with one sentence
// that names it and the tensor; nothing is read outside of it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/storage.h"
#include "kernels/base/tensor.h"
#include "parallel/shard.h"

namespace tessera {

class SafetensorsFile {
 public:
  struct Entry {
    std::string type;            // as the file says: "BF16"
    std::optional<DType> dtype;  // none: a type that Tessera does not compute with
    std::vector<int64_t> shape;  // empty: one element
    int64_t begin = 0, end = 0;  // bytes in the file
  };

  // Checks the whole header against the size of the file. Error{checkpoint} says what is wrong.
  static SafetensorsFile open(Storage& storage, const std::string& path);

  const std::string& path() const { return path_; }
  const std::map<std::string, Entry>& entries() const { return entries_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  // Fills `out` (host, contiguous, box.size() elements of the stored dtype) with that box of the
  // tensor. REQUIRES an entry with a dtype, and a box inside its shape, of at most two dims.
  void read(const std::string& name, const Box& box, const Tensor& out);

 private:
  std::string path_;
  std::unique_ptr<InputFile> file_;
  std::map<std::string, Entry> entries_;
  std::map<std::string, std::string> metadata_;
};

// The names of the format: "F32", "BF16", ...
const char* safetensors_name(DType dtype);

// Of a file with these tensors, in this order: length, JSON, padding to a multiple of 8 bytes. The
// elements follow, tensor after tensor. Carries {"format": "pt"}, which transformers asks for.
struct SafetensorsShape {
  std::string name;
  DType dtype = DType::f32;
  std::vector<int64_t> shape;
  int64_t bytes() const;
};
std::string safetensors_header(const std::vector<SafetensorsShape>& tensors);

}  // namespace tessera
