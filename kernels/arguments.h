// SPDX-License-Identifier: Apache-2.0
// The checks that the front functions share, in one voice: "kernel: argument is (2, 3) f32 but
// ...". Each throws Error{internal}. Kept inside this room.
#pragma once

#include <initializer_list>

#include "kernels/base/stream.h"
#include "kernels/base/tensor.h"

namespace tessera {

struct Argument {
  const char* name;
  const Tensor& tensor;
};

// The checks of one call of one kernel.
class Arguments {
 public:
  Arguments(const Stream& stream, const char* kernel) : stream_(stream), kernel_(kernel) {}

  // Not empty, and in memory that the stream's device reads.
  void on_device(std::initializer_list<Argument> arguments) const;
  // A floating type that the stream's device computes in: f64 on the reference, any on the dry
  // device, f32, bf16 or f16 elsewhere.
  void computable(const Argument& argument) const;
  void floating(const Argument& argument) const;
  void of_type(const Argument& argument, DType dtype) const;
  void same_type(const Argument& a, const Argument& b) const;
  void same_shape(const Argument& a, const Argument& b) const;
  void matrix(const Argument& argument, int64_t rows, int64_t columns) const;
  void vector(const Argument& argument, int64_t size) const;  // contiguous, of any extents
  void factors(const Argument& argument) const;               // (n) f64 on the device; may be empty
  void holds(bool condition, const char* promise) const;

 private:
  const Stream& stream_;
  const char* kernel_;
};

// For kernels of a host: the product of factors(), 1 of none.
inline double product_of(const Tensor& factors) {
  double product = 1;
  if (!factors.empty())
    for (int64_t i = 0; i < factors.size(); ++i) product *= factors.as<double>()[i];
  return product;
}

}  // namespace tessera
