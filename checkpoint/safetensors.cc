// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/safetensors.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <nlohmann/json.hpp>

#include "checkpoint/json.h"
#include "kernels/base/check.h"

namespace tessera {
namespace {

using nlohmann::json;

constexpr uint64_t kLongestHeader = 100'000'000;
constexpr size_t kBitsOfByte = 8;

struct StoredType {
  const char* name;
  int64_t bits;
  std::optional<DType> dtype;
};
const StoredType kTypes[] = {{"F64", 64, DType::f64},
                             {"F32", 32, DType::f32},
                             {"BF16", 16, DType::bf16},
                             {"F16", 16, DType::f16},
                             {"F8_E4M3", 8, DType::f8_e4m3},
                             {"I32", 32, DType::i32},
                             {"I64", 64, DType::i64},
                             {"BOOL", 8, {}},
                             {"U8", 8, {}},
                             {"I8", 8, {}},
                             {"F8_E5M2", 8, {}},
                             {"F8_E8M0", 8, {}},
                             {"F8_E4M3FNUZ", 8, {}},
                             {"F8_E5M2FNUZ", 8, {}},
                             {"I16", 16, {}},
                             {"U16", 16, {}},
                             {"U32", 32, {}},
                             {"U64", 64, {}},
                             {"C64", 64, {}},
                             {"F4", 4, {}},
                             {"F6_E2M3", 6, {}},
                             {"F6_E3M2", 6, {}}};

[[noreturn]] void refuse(const std::string& path, const std::string& what) {
  fail(ErrorKind::checkpoint, path + ": not a sound safetensors file: " + what);
}

const StoredType& type_named(const std::string& name, const std::string& where) {
  const auto* found = std::find_if(std::begin(kTypes), std::end(kTypes),
                                   [&](const StoredType& type) { return name == type.name; });
  if (found == std::end(kTypes)) refuse(where, "unknown dtype " + name);
  return *found;
}

// A whole number of a JSON array that fits into i64.
int64_t whole(const json& value, const std::string& where) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() > INT64_MAX)
    refuse(where, "`" + value.dump() + "` is no whole number");
  return value.get<int64_t>();
}

int64_t bytes_of(const StoredType& type, const std::vector<int64_t>& shape,
                 const std::string& where) {
  int64_t bits = type.bits;
  for (const int64_t extent : shape)
    if (__builtin_mul_overflow(bits, extent, &bits)) refuse(where, "the shape is too large");
  if (bits % static_cast<int64_t>(kBitsOfByte) != 0) refuse(where, "ends within a byte");
  return bits / static_cast<int64_t>(kBitsOfByte);
}

SafetensorsFile::Entry entry_of(const json& value, const std::string& where) {
  if (!value.is_object() || value.size() != 3 || !value.contains("dtype") ||
      !value.contains("shape") || !value.contains("data_offsets"))
    refuse(where, "wants dtype, shape and data_offsets");
  if (!value["dtype"].is_string() || !value["shape"].is_array() ||
      !value["data_offsets"].is_array() || value["data_offsets"].size() != 2)
    refuse(where, "dtype, shape or data_offsets have the wrong type");
  const StoredType& type = type_named(value["dtype"].get<std::string>(), where);
  SafetensorsFile::Entry entry{.type = type.name, .dtype = type.dtype, .shape = {}};
  for (const json& extent : value["shape"]) entry.shape.push_back(whole(extent, where));
  entry.begin = whole(value["data_offsets"][0], where);
  entry.end = whole(value["data_offsets"][1], where);
  if (entry.end < entry.begin || entry.end - entry.begin != bytes_of(type, entry.shape, where))
    refuse(where, "data_offsets do not match dtype and shape");
  return entry;
}

// A JSON object with a key twice is read by one program one way and by another another way.
json parse_strictly(const std::string& text, const std::string& path) {
  std::vector<std::map<std::string, int>> open;
  std::string twice;
  const auto watch = [&](int, json::parse_event_t event, json& value) {
    if (event == json::parse_event_t::object_start) open.emplace_back();
    if (event == json::parse_event_t::object_end && !open.empty()) open.pop_back();
    if (event == json::parse_event_t::key && !open.empty() &&
        ++open.back()[value.get<std::string>()] > 1)
      twice = value.get<std::string>();
    return true;
  };
  json header = json::parse(text, watch, false);
  if (header.is_discarded() || !header.is_object()) refuse(path, "the header is not JSON");
  if (!twice.empty()) refuse(path, "`" + twice + "` is there twice");
  return header;
}

}  // namespace

const char* safetensors_name(DType dtype) {
  for (const StoredType& type : kTypes)
    if (type.dtype == dtype) return type.name;
  return "";
}

SafetensorsFile SafetensorsFile::open(Storage& storage, const std::string& path) {
  SafetensorsFile opened;
  opened.path_ = path;
  opened.file_ = storage.open(path);
  const int64_t size = opened.file_->size();
  uint64_t length = 0;
  if (size < static_cast<int64_t>(sizeof length)) refuse(path, "shorter than its first number");
  opened.file_->read(0, &length, sizeof length);
  if (length > kLongestHeader)
    refuse(path, "the header would have " + std::to_string(length) + " bytes, more than 100 MB");
  const auto data = static_cast<int64_t>(sizeof length + length);
  if (data > size) refuse(path, "the header ends beyond the file");
  std::string text(length, '\0');
  opened.file_->read(sizeof length, text.data(), static_cast<int64_t>(length));
  if (text.empty() || text.front() != '{') refuse(path, "the header does not begin with {");
  (void)parse_json(text, path);  // bounds the nesting
  const json header = parse_strictly(text, path);

  std::vector<std::pair<Entry, std::string>> in_order;
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__") {
      if (!value.is_object()) refuse(path, "__metadata__ is no object");
      for (const auto& [key, word] : value.items()) {
        if (!word.is_string()) refuse(path, "__metadata__ holds more than text");
        opened.metadata_[key] = word.get<std::string>();
      }
      continue;
    }
    in_order.emplace_back(entry_of(value, path + ": " + name), name);
  }
  std::sort(in_order.begin(), in_order.end(), [](const auto& a, const auto& b) {
    return std::pair(a.first.begin, a.first.end) < std::pair(b.first.begin, b.first.end);
  });
  int64_t next = 0;
  for (auto& [entry, name] : in_order) {
    if (entry.begin != next)
      refuse(path, name + (entry.begin < next ? " overlaps another tensor" : " follows a hole"));
    next = entry.end;
    if (next > size - data) refuse(path, name + " ends beyond the file");
    entry.begin += data;
    entry.end += data;
    opened.entries_.emplace(name, entry);
  }
  if (next != size - data)
    refuse(path, std::to_string(size - data - next) + " bytes follow the last tensor");
  return opened;
}

void SafetensorsFile::read(const std::string& name, const Box& box, const Tensor& out) {
  const Entry& entry = entries_.at(name);
  check(entry.dtype == out.dtype() && out.contiguous() && out.size() == box.size(),
        "safetensors: no such box of", name);
  const size_t dims = entry.shape.size();
  check(dims <= 2 && box.extent.size() == dims, "safetensors: box of", dims, "dims");
  const int64_t columns = dims == 0 ? 1 : entry.shape.back();
  const int64_t rows = dims == 2 ? box.extent[0] : 1, row = dims == 2 ? box.offset[0] : 0;
  const int64_t width = dims == 0 ? 1 : box.extent.back();
  const int64_t column = dims == 0 ? 0 : box.offset.back();
  const int64_t size = size_of(out.dtype());
  auto* to = static_cast<std::byte*>(out.data());
  const bool whole_rows = width == columns;
  for (int64_t i = 0; i < (whole_rows ? 1 : rows); ++i)
    file_->read(entry.begin + ((row + i) * columns + column) * size, to + i * width * size,
                (whole_rows ? rows : 1) * width * size);
}

int64_t SafetensorsShape::bytes() const {
  int64_t elements = 1;
  for (const int64_t extent : shape) elements *= extent;
  return elements * size_of(dtype);
}

std::string safetensors_header(const std::vector<SafetensorsShape>& tensors) {
  nlohmann::ordered_json header;
  header["__metadata__"] = {{"format", "pt"}};
  int64_t offset = 0;
  for (const SafetensorsShape& tensor : tensors) {
    header[tensor.name] = {{"dtype", safetensors_name(tensor.dtype)},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, offset + tensor.bytes()}}};
    offset += tensor.bytes();
  }
  std::string text = header.dump();
  text.append((kBitsOfByte - text.size() % kBitsOfByte) % kBitsOfByte, ' ');
  const uint64_t length = text.size();
  std::string bytes(sizeof length, '\0');
  std::memcpy(bytes.data(), &length, sizeof length);
  return bytes + text;
}

}  // namespace tessera
