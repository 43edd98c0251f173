// SPDX-License-Identifier: Apache-2.0
#include "kernels/gemm.h"

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "kernels/arguments.h"
#include "kernels/backend.h"

namespace tessera {
namespace {

bool ascending(const Tensor& offsets, int64_t rows) {
  const auto* first = offsets.as<int64_t>();
  const auto* last = first + offsets.size() - 1;
  return *first == 0 && *last == rows && std::is_sorted(first, last + 1);
}

}  // namespace

bool experts_one_by_one() {
  const char* const text = std::getenv("TESSERA_EXPERTS");
  const std::string_view wish = text == nullptr || *text == '\0' ? "grouped" : text;
  check(wish == "grouped" || wish == "one_by_one", ErrorKind::usage, "TESSERA_EXPERTS is", wish,
        "but must be grouped or one_by_one");
  return wish == "one_by_one";
}

void gemm(Stream& stream, const Gemm& product) {
  const Arguments arguments(stream, "gemm:");
  const Argument a{"a", product.a}, b{"b", product.b}, c{"c", product.c};
  arguments.on_device({a, b, c});
  arguments.computable(a);
  arguments.same_type(a, b);
  const int64_t inner = product.transpose_b ? product.b.columns() : product.b.rows();
  check(inner == product.k(), "gemm: inner sizes of op(a) and op(b) differ:", product.k(), inner);
  arguments.matrix(c, product.m(), product.n());
  const DType sums = accumulation_type(product.a.dtype());
  if (product.accumulate || product.c.dtype() != product.a.dtype()) arguments.of_type(c, sums);
  if (product.c.size() == 0) return;
  stream.backend().gemm(stream, product);
}

Gemm GroupedGemm::product(int64_t group) const {
  const int64_t first = offsets.as<int64_t>()[group];
  const int64_t rows = offsets.as<int64_t>()[group + 1] - first;
  const Tensor& stacked = weights ? c : b;
  const int64_t each = stacked.rows() / groups();
  const Tensor mine = stacked.row_slice(group * each, each);
  if (weights)
    return {.a = a.row_slice(first, rows),
            .b = b.row_slice(first, rows),
            .c = mine,
            .transpose_a = true,
            .accumulate = accumulate};
  return {.a = a.row_slice(first, rows),
          .b = mine,
          .c = c.row_slice(first, rows),
          .transpose_b = transpose_b};
}

void grouped_gemm(Stream& stream, const GroupedGemm& products) {
  const Arguments arguments(stream, "grouped_gemm:");
  const Argument a{"a", products.a}, b{"b", products.b}, c{"c", products.c},
      offsets{"offsets", products.offsets};
  arguments.on_device({a, b, c, offsets});
  arguments.computable(a);
  arguments.same_type(a, b);
  arguments.of_type(offsets, DType::i64);
  arguments.vector(offsets, products.offsets.size());
  arguments.holds(products.groups() > 0, "offsets of at least one group");
  if (stream.device().is_host())
    arguments.holds(ascending(products.offsets, products.a.rows()),
                    "ascending offsets, from 0 to the rows of a");
  const int64_t groups = products.groups();
  const Tensor& stacked = products.weights ? products.c : products.b;
  arguments.holds(stacked.rows() % groups == 0, "as many equal matrices as groups");
  arguments.holds(products.a.columns() > 0, "columns of a");
  const int64_t each = stacked.rows() / groups;
  if (products.weights) {
    arguments.matrix(b, products.a.rows(), products.b.columns());
    arguments.matrix(c, groups * products.a.columns(), products.b.columns());
    arguments.of_type(c, accumulation_type(products.a.dtype()));
  } else {
    arguments.holds(!products.accumulate, "accumulate with products for weights only");
    const int64_t inner = products.transpose_b ? products.b.columns() : each;
    check(inner == products.a.columns(),
          "grouped_gemm: inner sizes of a and op(b) differ:", products.a.columns(), inner);
    arguments.matrix(c, products.a.rows(), products.transpose_b ? each : products.b.columns());
    if (products.c.dtype() != products.a.dtype())
      arguments.of_type(c, accumulation_type(products.a.dtype()));
  }
  const bool nothing_to_add = !products.weights || products.accumulate;
  if (products.c.size() == 0 || (products.a.rows() == 0 && nothing_to_add)) return;
  stream.backend().grouped_gemm(stream, products);
}

}  // namespace tessera
