// SPDX-License-Identifier: Apache-2.0
// A Tensor is dense rows in a shared Buffer: up to four extents, one element type, one row pitch.
//
//   rows()    = product of all extents but the last        (token positions, mostly)
//   columns() = the last extent, contiguous in memory
//   pitch()   = elements from one row to the next (>= columns(); larger for a column slice)
//
// A Tensor is a handle: copies share the elements, and `const Tensor&` means that the handle is
// const, not the elements. Outputs therefore are `const Tensor&` too and come last in every
// argument list; a kernel's header says which arguments it writes. Never broadcasts, never lazy.
#pragma once

#include <array>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "kernels/base/buffer.h"
#include "kernels/base/dtype.h"

namespace tessera {

class Tensor {
 public:
  static constexpr int kMaxDims = 4;

  Tensor() = default;  // empty(): no elements, no buffer
  // New, uninitialised elements with pitch == columns.
  Tensor(Device device, DType dtype, std::initializer_list<int64_t> extents,
         MemoryClass memory_class = MemoryClass::activations);
  // Elements of an existing buffer, starting `offset` elements into it.
  Tensor(std::shared_ptr<Buffer> buffer, DType dtype, int64_t offset, std::vector<int64_t> extents);

  bool empty() const { return buffer_ == nullptr; }
  Device device() const { return buffer_->device(); }
  DType dtype() const { return dtype_; }
  int dims() const { return dims_; }
  int64_t extent(int dim) const;
  int64_t rows() const { return rows_; }
  int64_t columns() const { return dims_ == 0 ? 1 : extents_[static_cast<size_t>(dims_ - 1)]; }
  int64_t pitch() const { return pitch_; }
  int64_t size() const { return rows_ * columns(); }
  int64_t bytes() const { return size() * size_of(dtype_); }
  bool contiguous() const { return pitch_ == columns() || rows_ <= 1; }

  // Views share the elements.
  Tensor row_slice(int64_t first, int64_t count) const;           // 2-D: rows [first, first+count)
  Tensor column_slice(int64_t first, int64_t count) const;        // same rows, fewer columns
  Tensor reshaped(std::initializer_list<int64_t> extents) const;  // REQUIRES contiguous()
  Tensor flat() const;  // (1, size); REQUIRES contiguous()

  void* data() const;
  const Buffer& buffer() const { return *buffer_; }  // REQUIRES not empty()
  template <typename T>
  T* as() const {
    check(dtype_ == dtype_of<T>(), "Tensor: asked for elements of another type than", name(dtype_));
    return static_cast<T*>(data());
  }
  template <typename T>
  T* row(int64_t index) const {
    return as<T>() + index * pitch_;
  }

  std::string shape() const;  // "(4, 128) bf16", for messages

 private:
  std::shared_ptr<Buffer> buffer_;
  DType dtype_ = DType::f32;
  int dims_ = 0;
  std::array<int64_t, kMaxDims> extents_{};
  int64_t offset_ = 0;  // elements
  int64_t rows_ = 0;
  int64_t pitch_ = 0;
};

// Throws Error{internal} naming both tensors when shapes differ.
void check_same_shape(const char* name_a, const Tensor& a, const char* name_b, const Tensor& b);

}  // namespace tessera
