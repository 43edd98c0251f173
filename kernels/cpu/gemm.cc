// SPDX-License-Identifier: Apache-2.0
// Matrix products in the manner of BLIS (Van Zee & van de Geijn, "BLIS: a framework for rapidly
// instantiating BLAS functionality"): both operands are repacked once into panels of words (every
// transpose, pitch and storage type ends there), then tiles of 8 x 48 are computed in registers.
// One element of C is one chain of fused multiply-adds per kDepth of k, added in increasing k:
// nothing depends on threads, on the other rows or on the width of the machine's vectors.
#include "kernels/gemm.h"

#include <vector>

#include "kernels/copy.h"
#include "kernels/cpu/parallel.h"

namespace tessera::cpu {
decltype(tessera::fill) fill;
namespace {

constexpr int64_t kDepth = 1024;                  // panels of one depth fit the second-level cache
constexpr int64_t kSlabWords = int64_t{3} << 20;  // packed A and packed B, 12 MiB each
constexpr int64_t kPanelsTogether = 4;            // of A, packed by one task
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

// `count` panels of `width` lanes from panel `first` on, whole depth, one after the other.
void pack_panels(const GemmLoops& gemm, const Operand& operand, int64_t lanes, int64_t depth,
                 int64_t width, int64_t first, int64_t count, float* to) {
  const int64_t lane = first * width;
  gemm.pack(element_of(operand.tensor),
            at(operand.tensor, 0) + lane * operand.lane_step() * size_of(operand.tensor.dtype()),
            operand.lane_step(), operand.depth_step(), std::min(count * width, lanes - lane), depth,
            width, to);
}

// The same by tasks of some panels each.
void pack(const GemmLoops& gemm, const Operand& operand, int64_t lanes, int64_t depth,
          int64_t width, int64_t first, int64_t count, float* to) {
  const int64_t words = divide_up(depth, gemm.depth_of_word);
  const int64_t together = width == kPanelRows ? kPanelsTogether : 1;
  parallel_for(divide_up(count, together), [&](int64_t task) {
    const int64_t panel = task * together;
    pack_panels(gemm, operand, lanes, depth, width, first + panel,
                std::min(together, count - panel), to + panel * width * words);
  });
}

// Words from one row of A to the next where its rows are rows of words as they lie; 0: A must be
// packed. Tiles are read whole, so as many rows must follow as the last one lacks.
int64_t words_of_lane(const Operand& a, int64_t m, int64_t rows_behind, int64_t k,
                      const GemmLoops& gemm) {
  const int64_t pitch = a.tensor.pitch();
  const bool words = a.lanes_are_rows && element_of(a.tensor) == gemm.word &&
                     m + rows_behind >= divide_up(m, kPanelRows) * kPanelRows &&
                     k % gemm.depth_of_word == 0 && pitch % gemm.depth_of_word == 0;
  return words ? pitch / gemm.depth_of_word : 0;
}

// The part of C that one task computes: rows and columns of it, and the panels that give it.
struct Block {
  int64_t row = 0, rows = 0, column = 0, columns = 0;
  const float *a = nullptr, *b = nullptr;
  int64_t a_lane = 0;             // words from one row of A to the next where A is not packed
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
      const int64_t a_row = block.a_lane ? block.a_lane : block.words;
      const int64_t a_word = block.a_lane ? 1 : kPanelRows;
      for (int64_t row = 0; row < block.rows; row += kPanelRows)
        gemm.multiply(block.a + row * a_row + k * a_word, block.a_lane, b, words, vectors, k > 0,
                      std::min(kPanelRows, block.rows - row), sums + row * kBlockColumns + column,
                      kBlockColumns, next + row * words * kPanelColumns / kBlockRows);
    }
  }
}

// C lies in strips of rows that no hardware prefetcher follows; asked for before the block is
// computed, it is there when the sums are added to it.
void fetch(const Gemm& product, const Block& block) {
  constexpr int64_t kLine = 64;
  if (!product.accumulate) return;
  const int64_t bytes = block.columns * size_of(product.c.dtype());
  for (int64_t row = 0; row < block.rows; ++row) {
    const std::byte* c = at(product.c, block.row + row, block.column);
    for (int64_t byte = 0; byte < bytes; byte += kLine) __builtin_prefetch(c + byte, 1, 2);
  }
}

// A sum over rows is the gradient of a weight, which nobody looks at before the pass is over.
bool passes_caches(const Gemm& product, const Block& block, const std::byte* c) {
  constexpr int64_t kLine = 64;
  return product.transpose_a && !product.accumulate && product.c.dtype() == DType::f32 &&
         reinterpret_cast<uintptr_t>(c) % kLine == 0 &&
         product.c.pitch() * size_of(DType::f32) % kLine == 0 &&
         block.columns * size_of(DType::f32) % kLine == 0;
}

void write(const Gemm& product, const Block& block, const float* sums) {
  const ElementwiseLoops& elementwise = loops().elementwise;
  const Element element = element_of(product.c);
  std::byte* first = at(product.c, block.row, block.column);
  if (passes_caches(product, block, first))
    return elementwise.stream(sums, kBlockColumns, reinterpret_cast<float*>(first),
                              product.c.pitch(), block.rows, block.columns);
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
  const int64_t a_lane = words_of_lane(a, m, 0, k, gemm);
  const int64_t panels = a_lane ? 0 : divide_up(m, kPanelRows);
  const Tensor packed_a(Device{}, DType::f32, {panels, words * kPanelRows}, MemoryClass::other);
  pack(gemm, a, m, k, kPanelRows, 0, panels, packed_a.as<float>());
  const auto* first_a =
      a_lane ? reinterpret_cast<const float*>(at(product.a, 0)) : packed_a.as<float>();
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
        gemm.multiply(first_a + row * (a_lane ? a_lane : words) + first * (a_lane ? 1 : kPanelRows),
                      a_lane, packed_b, some, divide_up(block.columns, kPanelColumns / 3),
                      first > 0, std::min(kPanelRows, m - row), sums + row * kBlockColumns,
                      kBlockColumns, packed_b);
    }
    write(product, block, sums);
  });
}

// One of many products whose B serves few rows, and where its A, as it lies or packed, begins.
struct Member {
  Gemm product;
  int64_t a_lane = 0;  // words from one row of A to the next where A is not packed
  const float* a = nullptr;
};

Operand operand_a(const Gemm& product) {
  return {product.a, !product.transpose_a};
}
Operand operand_b(const Gemm& product) {
  return {product.b, product.transpose_b};
}

// One panel of columns of one product: its panel of B is packed whole, depth after depth, and meets
// all rows of the product while it is in the second-level cache.
void gemm_panel(const Member& member, const GemmLoops& gemm, int64_t panel) {
  const Gemm& product = member.product;
  const int64_t column = panel * kPanelColumns, n = product.n(), k = product.k();
  const int64_t words = divide_up(k, gemm.depth_of_word);
  const Buffer scratch(Device{}, words * kPanelColumns * size_of(DType::f32), MemoryClass::other);
  auto* packed_b = reinterpret_cast<float*>(scratch.data());
  Block block = {.column = column, .columns = std::min(kPanelColumns, n - column)};
  pack_panels(gemm, operand_b(product), n, k, kPanelColumns, panel, 1, packed_b);
  block.b = packed_b;
  block.next_b = packed_b;
  block.words = words;
  block.a_lane = member.a_lane;
  alignas(64) float sums[kBlockRows * kBlockColumns];
  for (block.row = 0; block.row < product.m(); block.row += kBlockRows) {
    block.rows = std::min(kBlockRows, product.m() - block.row);
    block.a = member.a + block.row * (member.a_lane ? member.a_lane : words);
    fetch(product, block);
    multiply(gemm, block, sums);
    write(product, block, sums);
  }
}

// Packs A of those products that cannot be read as they lie; returns where.
Tensor pack_a(std::vector<Member>& members, const GemmLoops& gemm) {
  struct Part {
    const Gemm* product;
    int64_t panel;
    float* to;
  };
  const auto words_of_panel = [&](const Gemm& product) {
    return kPanelRows * divide_up(product.k(), gemm.depth_of_word);
  };
  int64_t words = 0;
  for (const Member& member : members)
    if (member.a_lane == 0)
      words += divide_up(member.product.m(), kPanelRows) * words_of_panel(member.product);
  const Tensor packed(Device{}, DType::f32, {1, words}, MemoryClass::other);
  float* next = packed.as<float>();
  std::vector<Part> parts;
  for (Member& member : members) {
    if (member.a_lane > 0) continue;
    member.a = next;
    const int64_t panels = divide_up(member.product.m(), kPanelRows);
    const int64_t size = words_of_panel(member.product);
    for (int64_t panel = 0; panel < panels; panel += kPanelsTogether)
      parts.push_back({&member.product, panel, next + panel * size});
    next += panels * size;
  }
  parallel_for(static_cast<int64_t>(parts.size()), [&](int64_t task) {
    const auto& [product, panel, to] = parts[static_cast<size_t>(task)];
    const int64_t panels = divide_up(product->m(), kPanelRows);
    pack_panels(gemm, operand_a(*product), product->m(), product->k(), kPanelRows, panel,
                std::min(kPanelsTogether, panels - panel), to);
  });
  return packed;
}

// All panels of all products side by side, so that threads wait for each other once.
void gemm_members(std::vector<Member>& members, const GemmLoops& gemm) {
  struct Part {
    size_t member;
    int64_t panel;
  };
  std::vector<Part> parts;
  for (size_t i = 0; i < members.size(); ++i)
    for (int64_t panel = 0; panel < divide_up(members[i].product.n(), kPanelColumns); ++panel)
      parts.push_back({i, panel});
  const Tensor packed = pack_a(members, gemm);
  parallel_for(static_cast<int64_t>(parts.size()), [&](int64_t task) {
    const auto [i, panel] = parts[static_cast<size_t>(task)];
    gemm_panel(members[i], gemm, panel);
  });
}

}  // namespace

// As many groups at a time as fill a slab with their packed A.
void grouped_gemm(Stream& stream, const GroupedGemm& products) {
  const GemmLoops& gemm = gemm_loops(element_of(products.a));
  std::vector<Member> members;
  int64_t words = 0;
  for (int64_t group = 0; group < products.groups(); ++group) {
    const Gemm product = products.product(group);
    if (product.a.rows() == 0) {
      if (products.weights && !products.accumulate) cpu::fill(stream, 0, product.c);
      continue;
    }
    Member member{.product = product};
    const int64_t rows_behind = products.a.rows() - products.offsets.as<int64_t>()[group + 1];
    member.a_lane = words_of_lane(operand_a(product), product.m(), rows_behind, product.k(), gemm);
    if (member.a_lane > 0) member.a = reinterpret_cast<const float*>(at(product.a, 0));
    const int64_t more =
        member.a_lane > 0 ? 0 : product.m() * divide_up(product.k(), gemm.depth_of_word);
    if (words > 0 && words + more > kSlabWords) {
      gemm_members(members, gemm);
      members.clear();
      words = 0;
    }
    members.push_back(member);
    words += more;
  }
  gemm_members(members, gemm);
}

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
  const int64_t a_lane = words_of_lane(a, m, 0, k, loops_of_type);
  const Tensor packed_a(Device{}, DType::f32, {a_lane ? 0 : panels_a, words * kPanelRows},
                        MemoryClass::other);
  const Tensor packed_b(Device{}, DType::f32, {panels_b, words * kPanelColumns},
                        MemoryClass::other);
  const auto* rows_of_a = reinterpret_cast<const float*>(at(product.a, 0));
  for (int64_t first_column = 0; first_column < n; first_column += slab_columns) {
    const int64_t columns = std::min(slab_columns, n - first_column);
    pack(loops_of_type, b, n, k, kPanelColumns, first_column / kPanelColumns,
         divide_up(columns, kPanelColumns), packed_b.as<float>());
    for (int64_t first_row = 0; first_row < m; first_row += slab_rows) {
      const int64_t rows = std::min(slab_rows, m - first_row);
      if (a_lane == 0 && (first_column == 0 || m > slab_rows))
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
                             .a = a_lane ? rows_of_a + (first_row + row) * a_lane
                                         : packed_a.as<float>() + row * words,
                             .b = packed_b.as<float>() + column * words,
                             .a_lane = a_lane,
                             .next_b = packed_b.as<float>() + next_column * words,
                             .words = words};
        alignas(64) float sums[kBlockRows * kBlockColumns];
        if (k == 0) std::fill_n(sums, kBlockRows * kBlockColumns, 0.0f);
        fetch(product, block);
        multiply(loops_of_type, block, sums);
        write(product, block, sums);
      });
    }
  }
}

}  // namespace tessera::cpu
