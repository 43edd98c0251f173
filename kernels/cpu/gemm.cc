// SPDX-License-Identifier: Apache-2.0
// Matrix products in the manner of BLIS (Van Zee & van de Geijn, "BLIS: a framework for rapidly
// instantiating BLAS functionality"): both operands are repacked once into panels of words (every
// transpose, pitch and storage type ends there), then tiles of 8 x 48 are computed in registers.
// One element of C is one chain of fused multiply-adds per kDepth of k, added in increasing k:
// nothing depends on threads, on the other rows or on the width of the machine's vectors.
#include "kernels/gemm.h"

#include "kernels/cpu/parallel.h"

namespace tessera::cpu {
namespace {

constexpr int64_t kDepth = 1024;                  // panels of one depth fit the second-level cache
constexpr int64_t kSlabWords = int64_t{3} << 20;  // packed A and packed B, 12 MiB each
constexpr int64_t kBlockPanelsA = 12;             // one task: 96 x 192 of C
constexpr int64_t kBlockPanelsB = 4;
constexpr int64_t kBlockRows = kBlockPanelsA * kPanelRows;
constexpr int64_t kBlockColumns = kBlockPanelsB * kPanelColumns;

// op(A) or op(B) seen as lanes (rows of A, columns of B) x depth.
struct Operand {
  const Tensor& tensor;
  bool lanes_are_rows;  // of the tensor; then depth runs along its columns

  int64_t lane_step() const { return lanes_are_rows ? tensor.pitch() : 1; }
  int64_t depth_step() const { return lanes_are_rows ? 1 : tensor.pitch(); }
};

// Panels [first, first + count) of `width` lanes each, whole depth, one after the other.
void pack(const GemmLoops& gemm, const Operand& operand, int64_t lanes, int64_t depth,
          int64_t width, int64_t first, int64_t count, float* to) {
  const std::byte* from = at(operand.tensor, 0);
  const int64_t size = size_of(operand.tensor.dtype());
  const int64_t words = divide_up(depth, gemm.depth_of_word);
  parallel_for(count, [&](int64_t panel) {
    const int64_t lane = (first + panel) * width;
    gemm.pack(element_of(operand.tensor), from + lane * operand.lane_step() * size,
              operand.lane_step(), operand.depth_step(), std::min(width, lanes - lane), depth,
              width, to + panel * width * words);
  });
}

// The part of C that one task computes: rows and columns of it, and the panels that give it.
struct Block {
  int64_t row, rows, column, columns;
  const float *a = nullptr, *b = nullptr;
  const float* next_b = nullptr;  // of the block that comes after, most likely
  int64_t words = 0;
};

// sums (row step kBlockColumns) = the block's product. A panel of B comes from afar and serves
// twelve tiles; each of them asks for a twelfth of the next one.
void multiply(const GemmLoops& gemm, const Block& block, float* sums) {
  for (int64_t k = 0; k < block.words; k += kDepth) {
    const int64_t words = std::min(kDepth, block.words - k);
    for (int64_t column = 0; column < block.columns; column += kPanelColumns) {
      const float* b = block.b + column * block.words + k * kPanelColumns;
      const float* next = b + kPanelColumns * block.words;
      if (column + kPanelColumns >= block.columns)
        next = k + kDepth < block.words ? block.b + (k + kDepth) * kPanelColumns : block.next_b;
      const int64_t vectors =
          divide_up(std::min(kPanelColumns, block.columns - column), kPanelColumns / 3);
      for (int64_t row = 0; row < block.rows; row += kPanelRows)
        gemm.multiply(block.a + row * block.words + k * kPanelRows, b, words, vectors, k > 0,
                      std::min(kPanelRows, block.rows - row), sums + row * kBlockColumns + column,
                      kBlockColumns, next + row * words * kPanelColumns / kBlockRows);
    }
  }
}

void write(const Gemm& product, const Block& block, const float* sums) {
  const ElementwiseLoops& elementwise = loops().elementwise;
  const Element element = element_of(product.c);
  for (int64_t row = 0; row < block.rows; ++row) {
    std::byte* c = at(product.c, block.row + row, block.column);
    const float* from = sums + row * kBlockColumns;
    if (product.accumulate)
      elementwise.add(Element::f32, c, from, c, block.columns);
    else
      elementwise.cast(Element::f32, from, element, c, block.columns);
  }
}

// Wide blocks reuse A most; a slab of few blocks is cut finer, so that no thread waits long for
// the last one.
int64_t block_columns_of(int64_t m, int64_t n) {
  constexpr int64_t kManyBlocks = 32;
  const bool few = divide_up(m, kBlockRows) * divide_up(n, kBlockColumns) < kManyBlocks;
  return few ? kPanelColumns : kBlockColumns;
}

// At most one block of rows: a panel of B serves one task only, which packs it itself, one depth at
// a time, and finds it in its own cache.
void gemm_few_rows(const Gemm& product, const GemmLoops& gemm, const Operand& a, const Operand& b) {
  const int64_t m = product.m(), n = product.n(), k = product.k();
  const int64_t words = divide_up(k, gemm.depth_of_word);
  const int64_t size = size_of(product.b.dtype());
  const Tensor packed_a(Device{}, DType::f32, {divide_up(m, kPanelRows), words * kPanelRows},
                        MemoryClass::other);
  pack(gemm, a, m, k, kPanelRows, 0, divide_up(m, kPanelRows), packed_a.as<float>());
  parallel_for(divide_up(n, kPanelColumns), [&](int64_t panel) {
    const Buffer scratch(Device{}, kDepth * kPanelColumns * size_of(DType::f32),
                         MemoryClass::other);
    auto* packed_b = reinterpret_cast<float*>(scratch.data());
    const int64_t column = panel * kPanelColumns;
    const Block block = {
        .row = 0, .rows = m, .column = column, .columns = std::min(kPanelColumns, n - column)};
    alignas(64) float sums[kBlockRows * kBlockColumns];
    if (k == 0) std::fill_n(sums, kBlockRows * kBlockColumns, 0.0f);
    for (int64_t first = 0; first < words; first += kDepth) {
      const int64_t some = std::min(kDepth, words - first), depth = first * gemm.depth_of_word;
      gemm.pack(element_of(product.b),
                at(product.b, 0) + (column * b.lane_step() + depth * b.depth_step()) * size,
                b.lane_step(), b.depth_step(), block.columns,
                std::min(some * gemm.depth_of_word, k - depth), kPanelColumns, packed_b);
      for (int64_t row = 0; row < m; row += kPanelRows)
        gemm.multiply(packed_a.as<float>() + row * words + first * kPanelRows, packed_b, some,
                      divide_up(block.columns, kPanelColumns / 3), first > 0,
                      std::min(kPanelRows, m - row), sums + row * kBlockColumns, kBlockColumns,
                      packed_b);
    }
    write(product, block, sums);
  });
}

}  // namespace

void gemm(Stream&, const Gemm& product) {
  const int64_t m = product.m(), n = product.n(), k = product.k();
  const GemmLoops& loops_of_type = gemm_loops(element_of(product.a));
  const int64_t words = divide_up(k, loops_of_type.depth_of_word);
  const Operand a{product.a, !product.transpose_a}, b{product.b, product.transpose_b};
  if (m <= kBlockRows) return gemm_few_rows(product, loops_of_type, a, b);
  const int64_t fit = kSlabWords / std::max<int64_t>(1, words);
  const int64_t slab_rows = std::max<int64_t>(1, fit / kBlockRows) * kBlockRows;
  const int64_t slab_columns = std::max<int64_t>(1, fit / kBlockColumns) * kBlockColumns;
  const int64_t block_columns = block_columns_of(std::min(m, slab_rows), std::min(n, slab_columns));
  const int64_t panels_a = divide_up(std::min(m, slab_rows), kPanelRows);
  const int64_t panels_b = divide_up(std::min(n, slab_columns), kPanelColumns);
  const Tensor packed_a(Device{}, DType::f32, {panels_a, words * kPanelRows}, MemoryClass::other);
  const Tensor packed_b(Device{}, DType::f32, {panels_b, words * kPanelColumns},
                        MemoryClass::other);
  for (int64_t first_column = 0; first_column < n; first_column += slab_columns) {
    const int64_t columns = std::min(slab_columns, n - first_column);
    pack(loops_of_type, b, n, k, kPanelColumns, first_column / kPanelColumns,
         divide_up(columns, kPanelColumns), packed_b.as<float>());
    for (int64_t first_row = 0; first_row < m; first_row += slab_rows) {
      const int64_t rows = std::min(slab_rows, m - first_row);
      if (first_column == 0 || m > slab_rows)
        pack(loops_of_type, a, m, k, kPanelRows, first_row / kPanelRows,
             divide_up(rows, kPanelRows), packed_a.as<float>());
      const int64_t across = divide_up(columns, block_columns);
      parallel_for(divide_up(rows, kBlockRows) * across, [&](int64_t task) {
        const int64_t row = task / across * kBlockRows, column = task % across * block_columns;
        const int64_t next_column = (task + cpu_threads()) % across * block_columns;
        const Block block = {.row = first_row + row,
                             .rows = std::min(kBlockRows, rows - row),
                             .column = first_column + column,
                             .columns = std::min(block_columns, columns - column),
                             .a = packed_a.as<float>() + row * words,
                             .b = packed_b.as<float>() + column * words,
                             .next_b = packed_b.as<float>() + next_column * words,
                             .words = words};
        alignas(64) float sums[kBlockRows * kBlockColumns];
        if (k == 0) std::fill_n(sums, kBlockRows * kBlockColumns, 0.0f);
        multiply(loops_of_type, block, sums);
        write(product, block, sums);
      });
    }
  }
}

}  // namespace tessera::cpu
