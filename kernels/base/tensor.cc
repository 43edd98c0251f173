// SPDX-License-Identifier: Apache-2.0
#include "kernels/base/tensor.h"

#include <numeric>
#include <sstream>

namespace tessera {

Tensor::Tensor(Device device, DType dtype, std::initializer_list<int64_t> extents,
               MemoryClass memory_class)
    : Tensor(std::make_shared<Buffer>(
                 device,
                 std::accumulate(extents.begin(), extents.end(), int64_t{1}, std::multiplies<>()) *
                     size_of(dtype),
                 memory_class),
             dtype, 0, extents) {}

Tensor::Tensor(std::shared_ptr<Buffer> buffer, DType dtype, int64_t offset,
               std::vector<int64_t> extents)
    : buffer_(std::move(buffer)),
      dtype_(dtype),
      dims_(static_cast<int>(extents.size())),
      offset_(offset) {
  check(dims_ >= 1 && dims_ <= kMaxDims, "Tensor: number of extents must be 1 to 4, got", dims_);
  rows_ = 1;
  for (int dim = 0; dim < dims_; ++dim) {
    const int64_t extent = extents[static_cast<size_t>(dim)];
    check(extent >= 0, "Tensor: negative extent", extent);
    extents_[static_cast<size_t>(dim)] = extent;
    if (dim + 1 < dims_) rows_ *= extent;
  }
  pitch_ = columns();
  check((offset_ + size()) * size_of(dtype_) <= buffer_->bytes(),
        "Tensor: elements beyond the end of their buffer:", offset_ + size(), "of", name(dtype_),
        "in", buffer_->bytes(), "bytes");
}

int64_t Tensor::extent(int dim) const {
  check(dim >= 0 && dim < dims_, "Tensor: no such dim", dim, "of", dims_);
  return extents_[static_cast<size_t>(dim)];
}

Tensor Tensor::row_slice(int64_t first, int64_t count) const {
  check(dims_ <= 2, "Tensor: row_slice wants one or two dims, got", dims_);
  check(first >= 0 && count >= 0 && first + count <= rows_, "Tensor: row_slice outside:", first,
        count, "of", rows_);
  Tensor slice = *this;
  slice.dims_ = 2;
  slice.extents_ = {count, columns()};
  slice.rows_ = count;
  slice.offset_ += first * pitch_;
  return slice;
}

Tensor Tensor::column_slice(int64_t first, int64_t count) const {
  check(first >= 0 && count >= 0 && first + count <= columns(),
        "Tensor: column_slice outside:", first, count, "of", columns());
  Tensor slice = *this;
  slice.extents_[static_cast<size_t>(dims_ - 1)] = count;
  slice.offset_ += first;
  return slice;
}

Tensor Tensor::reshaped(std::initializer_list<int64_t> extents) const {
  if (!contiguous())
    fail(ErrorKind::internal, "Tensor: cannot reshape a slice with a pitch,", shape());
  Tensor view(buffer_, dtype_, offset_, extents);
  if (view.size() != size())
    fail(ErrorKind::internal, "Tensor: reshape changes the size:", shape(), view.shape());
  return view;
}

Tensor Tensor::flat() const {
  return reshaped({1, size()});
}

void* Tensor::data() const {
  check(buffer_ != nullptr, "Tensor: no elements");
  return buffer_->data() + offset_ * size_of(dtype_);
}

std::string Tensor::shape() const {
  if (empty()) return "(empty)";
  std::ostringstream out;
  out << '(';
  for (int dim = 0; dim < dims_; ++dim) out << (dim ? ", " : "") << extent(dim);
  out << ") " << name(dtype_);
  return out.str();
}

void check_same_shape(const char* name_a, const Tensor& a, const char* name_b, const Tensor& b) {
  if (a.rows() == b.rows() && a.columns() == b.columns()) return;
  fail(ErrorKind::internal, name_a, a.shape(), "and", name_b, b.shape(), "differ in shape");
}

}  // namespace tessera
