// SPDX-License-Identifier: Apache-2.0
// Storage types narrower than f32 and their exact conversions: bf16, f16 (IEEE binary16) and
// f8_e4m3 (OCP FP8: no infinities, largest 448, NaN 0x7f). They store; arithmetic is done in f32.
// Narrowing rounds to nearest, ties to even; NaN stays NaN (quieted), f16 overflow gives infinity,
// f8_e4m3 overflow saturates to 448 as in "FP8 Formats for Deep Learning" (arXiv:2209.05433).
// Usable in .cc and .cu files. From double, narrow via f32 only where the double holds an f32.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define TESSERA_HOST_DEVICE __host__ __device__
#else
#define TESSERA_HOST_DEVICE
#endif

namespace tessera {

struct bf16 {
  uint16_t bits;
};
struct f16 {
  uint16_t bits;
};
struct f8_e4m3 {
  uint8_t bits;
};

TESSERA_HOST_DEVICE inline uint32_t bits_of(float value) {
  union {
    float f;
    uint32_t u;
  } both;
  both.f = value;
  return both.u;
}
TESSERA_HOST_DEVICE inline float float_of(uint32_t bits) {
  union {
    uint32_t u;
    float f;
  } both;
  both.u = bits;
  return both.f;
}

TESSERA_HOST_DEVICE inline float to_float(float value) {
  return value;
}
TESSERA_HOST_DEVICE inline float to_float(bf16 value) {
  return float_of(static_cast<uint32_t>(value.bits) << 16);
}
TESSERA_HOST_DEVICE inline bf16 to_bf16(float value) {
  const uint32_t bits = bits_of(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>((bits >> 16) | 0x40u)};
  return {static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

TESSERA_HOST_DEVICE inline float to_float(f16 value) {
  const uint32_t sign = static_cast<uint32_t>(value.bits & 0x8000u) << 16;
  const uint32_t exponent = (value.bits >> 10) & 0x1fu;
  const uint32_t mantissa = value.bits & 0x3ffu;
  if (exponent == 0x1fu) return float_of(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0) return float_of(sign | ((exponent + 112u) << 23) | (mantissa << 13));
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;  // subnormal or zero, exact
  return float_of(sign | bits_of(magnitude));
}
TESSERA_HOST_DEVICE inline f16 to_f16(float value) {
  const uint32_t bits = bits_of(value);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return {static_cast<uint16_t>(sign | 0x7e00u)};
  if (magnitude >= 0x477ff000u) return {static_cast<uint16_t>(sign | 0x7c00u)};  // >= 65520
  if (magnitude < 0x38800000u) {  // below 2^-14: subnormal; adding 0.5 rounds at bit 2^-24
    const float shifted = float_of(magnitude) + 0.5f;
    return {static_cast<uint16_t>(sign | (bits_of(shifted) - 0x3f000000u))};
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return {static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13))};
}

TESSERA_HOST_DEVICE inline float to_float(f8_e4m3 value) {
  const uint32_t sign = static_cast<uint32_t>(value.bits & 0x80u) << 24;
  const uint32_t exponent = (value.bits >> 3) & 0xfu;
  const uint32_t mantissa = value.bits & 0x7u;
  if ((value.bits & 0x7fu) == 0x7fu) return float_of(sign | 0x7fc00000u);
  if (exponent != 0) return float_of(sign | ((exponent + 120u) << 23) | (mantissa << 20));
  return float_of(sign | bits_of(static_cast<float>(mantissa) * 0x1p-9f));
}
TESSERA_HOST_DEVICE inline f8_e4m3 to_f8_e4m3(float value) {
  const uint32_t bits = bits_of(value);
  const uint8_t sign = static_cast<uint8_t>((bits >> 24) & 0x80u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return {static_cast<uint8_t>(sign | 0x7fu)};
  if (magnitude >= 0x43e00000u) return {static_cast<uint8_t>(sign | 0x7eu)};  // >= 448 saturates
  if (magnitude < 0x3c800000u) {                          // below 2^-6: subnormal in steps of 2^-9
    const float shifted = float_of(magnitude) + 0x1p14f;  // ulp of 2^14 is 2^-9
    return {static_cast<uint8_t>(sign | (bits_of(shifted) - bits_of(0x1p14f)))};
  }
  const uint32_t rounded = magnitude + 0x7ffffu + ((magnitude >> 20) & 1u);
  const uint32_t code = (rounded - 0x3c000000u) >> 20;
  return {static_cast<uint8_t>(sign | (code > 0x7eu ? 0x7eu : code))};
}

// narrow<T>(x): the nearest T; the identity for float.
template <typename T>
struct Narrow;
template <>
struct Narrow<float> {
  TESSERA_HOST_DEVICE static float from(float value) { return value; }
};
template <>
struct Narrow<bf16> {
  TESSERA_HOST_DEVICE static bf16 from(float value) { return to_bf16(value); }
};
template <>
struct Narrow<f16> {
  TESSERA_HOST_DEVICE static f16 from(float value) { return to_f16(value); }
};
template <>
struct Narrow<f8_e4m3> {
  TESSERA_HOST_DEVICE static f8_e4m3 from(float value) { return to_f8_e4m3(value); }
};

}  // namespace tessera
