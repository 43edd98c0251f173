// SPDX-License-Identifier: Apache-2.0
#include "parallel/transport/collective_arguments.h"

namespace tessera {
namespace {

// Every collective is checked, so shapes and cuts become text for a refusal only.
template <typename... Values>
[[noreturn]] void refuse(Sentence operation, const Values&... values) {
  fail(ErrorKind::internal, operation, values...);
}

void check_whole(const char* operation, const Tensor& whole, const Cut& cut, int size) {
  check_contiguous(operation, whole);
  const int64_t rows = whole.dims() == 0 ? 0 : whole.extent(0);
  if (cut.ranks() == size && cut.rows() == rows) return;
  refuse(operation, "of", whole.shape(), "does not fit the cut", to_string(cut),
         "for ranks:", size);
}

void check_part(const char* operation, const Tensor& part, const Tensor& whole, const Cut& cut,
                int rank) {
  check_contiguous(operation, part);
  if (part.size() == cut.part(rank).extent * row_elements(whole)) return;
  refuse(operation, "part", part.shape(), "is not mine of", whole.shape(), "cut into",
         to_string(cut), "rank", rank);
}

}  // namespace

void check_contiguous(const char* operation, const Tensor& x) {
  if (!x.contiguous()) refuse(operation, "wants contiguous tensors, got", x.shape());
}

void check_all_reduce(const Tensor& in, const Tensor& out) {
  check_contiguous("all_reduce:", in);
  check_contiguous("all_reduce:", out);
  if (in.size() == out.size() && in.dtype() == out.dtype()) return;
  refuse("all_reduce: in", in.shape(), "and out", out.shape(), "differ");
}

void check_reduce_scatter(const Tensor& in, const Cut& cut, const Tensor& out, int rank, int size) {
  check_whole("reduce_scatter:", in, cut, size);
  check_part("reduce_scatter:", out, in, cut, rank);
  const bool known = out.dtype() == in.dtype() || out.dtype() == accumulation_type(in.dtype());
  if (out.size() == 0 || known) return;
  refuse("reduce_scatter: cannot reduce", in.shape(), "into", out.shape());
}

void check_all_gather(const Tensor& in, const Cut& cut, const Tensor& out, int rank, int size) {
  check_whole("all_gather:", out, cut, size);
  check_part("all_gather:", in, out, cut, rank);
  if (in.size() == 0 || in.dtype() == out.dtype()) return;
  refuse("all_gather: in", in.shape(), "and out", out.shape(), "differ in type");
}

void check_all_to_all(const Tensor& in, const Cut& in_cut, const Tensor& out, const Cut& out_cut,
                      int rank, int size) {
  check_whole("all_to_all:", in, in_cut, size);
  check_whole("all_to_all:", out, out_cut, size);
  const bool both = in.size() > 0 && out.size() > 0;
  if (both && (in.dtype() != out.dtype() || row_elements(in) != row_elements(out)))
    refuse("all_to_all: rows of in", in.shape(), "and out", out.shape(), "differ");
  if (both && in.data() == out.data()) refuse("all_to_all: out is in,", in.shape());
  if (in_cut.part(rank).extent != out_cut.part(rank).extent)
    refuse("all_to_all: what I send myself,", to_string(in_cut), "and get from myself,",
           to_string(out_cut), "differ; rank", rank);
}

int64_t row_elements(const Tensor& x) {
  int64_t elements = 1;
  for (int dim = 1; dim < x.dims(); ++dim) elements *= x.extent(dim);
  return elements;
}

Bytes bytes_of(const Tensor& x) {
  if (x.size() == 0) return {nullptr, 0};
  return {static_cast<std::byte*>(x.data()), x.bytes()};
}

Bytes bytes_of(const Tensor& x, const Interval& rows) {
  const int64_t row = row_elements(x) * size_of(x.dtype());
  if (rows.extent * row == 0) return {nullptr, 0};
  return {static_cast<std::byte*>(x.data()) + rows.first * row, rows.extent * row};
}

}  // namespace tessera
