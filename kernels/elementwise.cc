// SPDX-License-Identifier: Apache-2.0
#include "kernels/elementwise.h"

#include "kernels/arguments.h"
#include "kernels/backend.h"

namespace tessera {
namespace {
// The first argument sets shape and type for all.
void check_alike(Stream& stream, const char* kernel, std::initializer_list<Argument> all) {
  const Arguments arguments(stream, kernel);
  arguments.on_device(all);
  arguments.computable(*all.begin());
  for (const Argument& other : all) {
    arguments.same_shape(*all.begin(), other);
    arguments.same_type(*all.begin(), other);
  }
}
}  // namespace

void add(Stream& stream, const Tensor& a, const Tensor& b, const Tensor& out) {
  check_alike(stream, "add:", {{"a", a}, {"b", b}, {"out", out}});
  stream.backend().add(stream, a, b, out);
}

void scale(Stream& stream, const Tensor& in, double factor, const Tensor& out) {
  check_alike(stream, "scale:", {{"in", in}, {"out", out}});
  stream.backend().scale(stream, in, factor, out);
}

void swiglu(Stream& stream, const Tensor& gate, const Tensor& up, const Tensor& y) {
  check_alike(stream, "swiglu:", {{"gate", gate}, {"up", up}, {"y", y}});
  stream.backend().swiglu(stream, gate, up, y);
}

void swiglu_backward(Stream& stream, const Tensor& gate, const Tensor& up, const Tensor& dy,
                     const Tensor& dgate, const Tensor& dup) {
  check_alike(stream, "swiglu_backward:",
              {{"gate", gate}, {"up", up}, {"dy", dy}, {"dgate", dgate}, {"dup", dup}});
  stream.backend().swiglu_backward(stream, gate, up, dy, dgate, dup);
}

}  // namespace tessera
