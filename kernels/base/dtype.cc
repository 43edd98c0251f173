// SPDX-License-Identifier: Apache-2.0
#include "kernels/base/dtype.h"

#include <array>

namespace tessera {
namespace {

struct Row {
  DType dtype;
  const char* name;
  int64_t size;
  double roundoff;  // 0: not a floating type
};

// Mantissa bits: f64 52, f32 23, bf16 7, f16 10, f8_e4m3 3; the roundoff is 2^-(bits+1).
constexpr std::array<Row, 7> kTypes = {{{DType::f64, "f64", 8, 0x1p-53},
                                        {DType::f32, "f32", 4, 0x1p-24},
                                        {DType::bf16, "bf16", 2, 0x1p-8},
                                        {DType::f16, "f16", 2, 0x1p-11},
                                        {DType::f8_e4m3, "f8_e4m3", 1, 0x1p-4},
                                        {DType::i32, "i32", 4, 0},
                                        {DType::i64, "i64", 8, 0}}};

const Row& row(DType dtype) {
  return kTypes.at(static_cast<size_t>(dtype));
}

}  // namespace

int64_t size_of(DType dtype) {
  return row(dtype).size;
}
const char* name(DType dtype) {
  return row(dtype).name;
}
bool is_floating(DType dtype) {
  return row(dtype).roundoff > 0;
}
double unit_roundoff(DType dtype) {
  return row(dtype).roundoff;
}

std::optional<DType> dtype_named(std::string_view name) {
  for (const Row& type : kTypes)
    if (name == type.name) return type.dtype;
  return std::nullopt;
}

DType accumulation_type(DType dtype) {
  return dtype == DType::f64 ? DType::f64 : DType::f32;
}

}  // namespace tessera
