// SPDX-License-Identifier: Apache-2.0
// The element types of tensors, their sizes and names, and visit(), which turns a DType known at
// run time into a C++ type known to a kernel.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "kernels/base/check.h"
#include "kernels/base/half.h"

namespace tessera {

// NOTE: names, not numbers, reach the disk; the order may change.
enum class DType : uint8_t { f64, f32, bf16, f16, f8_e4m3, i32, i64 };

int64_t size_of(DType dtype);   // bytes of one element
const char* name(DType dtype);  // "f32", "bf16", ...
std::optional<DType> dtype_named(std::string_view name);
bool is_floating(DType dtype);

// The type that sums of this type are kept in: f64 for f64, f32 for every other floating type.
// Statistics (1/rms, log-sum-exp), gradients, master weights and moments use it.
DType accumulation_type(DType dtype);

// Unit roundoff of a floating type: half the distance from 1 to the next number.
double unit_roundoff(DType dtype);

template <typename T>
struct TypeTag {
  using type = T;
};
template <typename T>
constexpr DType dtype_of();
template <>
constexpr DType dtype_of<double>() {
  return DType::f64;
}
template <>
constexpr DType dtype_of<float>() {
  return DType::f32;
}
template <>
constexpr DType dtype_of<bf16>() {
  return DType::bf16;
}
template <>
constexpr DType dtype_of<f16>() {
  return DType::f16;
}
template <>
constexpr DType dtype_of<f8_e4m3>() {
  return DType::f8_e4m3;
}
template <>
constexpr DType dtype_of<int32_t>() {
  return DType::i32;
}
template <>
constexpr DType dtype_of<int64_t>() {
  return DType::i64;
}

// Calls function(TypeTag<T>{}) with the C++ type of dtype:
//   visit(x.dtype(), [&](auto tag) { using T = typename decltype(tag)::type; ... });
template <typename Function>
decltype(auto) visit(DType dtype, Function&& function) {
  switch (dtype) {
    case DType::f64: return function(TypeTag<double>{});
    case DType::f32: return function(TypeTag<float>{});
    case DType::bf16: return function(TypeTag<bf16>{});
    case DType::f16: return function(TypeTag<f16>{});
    case DType::f8_e4m3: return function(TypeTag<f8_e4m3>{});
    case DType::i32: return function(TypeTag<int32_t>{});
    case DType::i64: return function(TypeTag<int64_t>{});
  }
  fail(ErrorKind::internal, "visit: no such dtype", static_cast<int>(dtype));
}

}  // namespace tessera
