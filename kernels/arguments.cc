// SPDX-License-Identifier: Apache-2.0
#include "kernels/arguments.h"

namespace tessera {
namespace {
// The CPU and its reference share the host's memory, so either may read the other's tensors.
bool readable(Device reader, Device owner) {
  return reader == owner || (reader.is_host() && owner.is_host());
}

// Every kernel asks these questions at every call, so shapes become text for a refusal only.
template <typename... Values>
[[noreturn]] void refuse(Sentence kernel, const Values&... values) {
  fail(ErrorKind::internal, kernel, values...);
}
}  // namespace

void Arguments::on_device(std::initializer_list<Argument> arguments) const {
  for (const Argument& argument : arguments) {
    check(!argument.tensor.empty(), kernel_, argument.name, "is empty");
    check(readable(stream_.device(), argument.tensor.device()), kernel_, argument.name, "is on",
          name(argument.tensor.device()), "but the stream is on", name(stream_.device()));
  }
}

void Arguments::computable(const Argument& argument) const {
  const DType dtype = argument.tensor.dtype();
  if (stream_.device().kind == Device::Kind::dry) return floating(argument);
  const bool reference = stream_.device().kind == Device::Kind::reference;
  const bool half_or_single = dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::f16;
  if (reference ? dtype == DType::f64 : half_or_single) return;
  refuse(kernel_, argument.name, "is", argument.tensor.shape(), "but", name(stream_.device()),
         "computes in", reference ? "f64" : "f32, bf16 and f16");
}

void Arguments::floating(const Argument& argument) const {
  if (is_floating(argument.tensor.dtype())) return;
  refuse(kernel_, argument.name, "is", argument.tensor.shape(), "but must be floating");
}

void Arguments::of_type(const Argument& argument, DType dtype) const {
  if (argument.tensor.dtype() == dtype) return;
  refuse(kernel_, argument.name, "is", argument.tensor.shape(), "but must be", name(dtype));
}

void Arguments::same_type(const Argument& a, const Argument& b) const {
  if (a.tensor.dtype() == b.tensor.dtype()) return;
  refuse(kernel_, a.name, a.tensor.shape(), "and", b.name, b.tensor.shape(), "differ in type");
}

void Arguments::same_shape(const Argument& a, const Argument& b) const {
  matrix(b, a.tensor.rows(), a.tensor.columns());
}

void Arguments::matrix(const Argument& argument, int64_t rows, int64_t columns) const {
  if (argument.tensor.rows() == rows && argument.tensor.columns() == columns) return;
  refuse(kernel_, argument.name, "is", argument.tensor.shape(), "but must have rows and columns",
         rows, columns);
}

void Arguments::vector(const Argument& argument, int64_t size) const {
  if (argument.tensor.size() == size && argument.tensor.contiguous()) return;
  refuse(kernel_, argument.name, "is", argument.tensor.shape(), "but must be contiguous, of size",
         size);
}

void Arguments::factors(const Argument& argument) const {
  if (argument.tensor.empty()) return;
  on_device({argument});
  vector(argument, argument.tensor.size());
  of_type(argument, DType::f64);
}

void Arguments::holds(bool condition, const char* promise) const {
  check(condition, kernel_, "needs", promise);
}

}  // namespace tessera
