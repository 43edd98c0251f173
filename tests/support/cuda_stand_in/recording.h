// SPDX-License-Identifier: Apache-2.0
// Calls of kernels kept to be made again, as a CUDA graph keeps them: arguments by value, of a
// tensor its address and shape and no share in its memory. Whoever frees that memory and makes the
// calls again computes with whatever lies there by then.
#pragma once

#include <functional>
#include <memory>
#include <tuple>
#include <type_traits>
#include <vector>

#include "kernels/backend.h"
#include "kernels/base/pool.h"

namespace tessera::stand_in {

// A Buffer over somebody else's memory.
class Loan : public Pool {
 public:
  static std::shared_ptr<Buffer> of(const Buffer& buffer, int64_t more) {
    auto loan = std::make_shared<Loan>(buffer, more);
    return {loan, &loan->buffer_};
  }
  Loan(const Buffer& buffer, int64_t more)
      : memory_(buffer.data()),
        buffer_(buffer.device(), buffer.bytes() + more, MemoryClass::other, *this) {}
  std::byte* take(int64_t, MemoryClass) override { return memory_; }
  void give(std::byte*, int64_t, MemoryClass) noexcept override {}

 private:
  std::byte* memory_;
  Buffer buffer_;
};

inline Tensor lent(const Tensor& x) {
  if (x.empty()) return {};
  const int64_t offset =
      (static_cast<const std::byte*>(x.data()) - x.buffer().data()) / size_of(x.dtype());
  const int64_t pitch = std::max(x.pitch(), x.columns());
  // The pitch of the last row may end outside.
  return Tensor(Loan::of(x.buffer(), pitch * size_of(x.dtype())), x.dtype(), offset,
                {x.rows(), pitch})
      .column_slice(0, x.columns());
}
inline Gemm lent(Gemm product) {
  for (Tensor* x : {&product.a, &product.b, &product.c}) *x = lent(*x);
  return product;
}
inline GroupedGemm lent(GroupedGemm products) {
  for (Tensor* x : {&products.a, &products.b, &products.c, &products.offsets}) *x = lent(*x);
  return products;
}
inline AttentionGradients lent(AttentionGradients gradients) {
  for (Tensor* x : {&gradients.dq, &gradients.dk, &gradients.dv}) *x = lent(*x);
  return gradients;
}
inline AdamWPart lent(AdamWPart part) {
  for (Tensor* x : {&part.grad, &part.master, &part.m, &part.v, &part.compute}) *x = lent(*x);
  return part;
}
template <typename T>
std::vector<T> lent(std::vector<T> list) {
  for (T& each : list) each = lent(each);
  return list;
}
template <typename T>
T lent(const T& plain) {
  static_assert(std::is_trivially_copyable_v<T> && !std::is_pointer_v<T>);
  return plain;
}

class Calls {
 public:
  template <typename Kernel, typename... Arguments>
  void add(Kernel kernel, const Arguments&... arguments) {
    calls_.push_back([kernel, values = std::make_tuple(lent(arguments)...)](Stream& stream) {
      std::apply([&](const auto&... value) { kernel(stream, value...); }, values);
    });
  }
  void make() const {
    Stream stream(Device{Device::Kind::cuda});
    for (const auto& call : calls_) call(stream);
  }

 private:
  std::vector<std::function<void(Stream&)>> calls_;
};

}  // namespace tessera::stand_in
