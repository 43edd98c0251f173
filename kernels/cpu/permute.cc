// SPDX-License-Identifier: Apache-2.0
#include "kernels/permute.h"

#include <array>
#include <cstring>
#include <numeric>
#include <vector>

#include "kernels/cpu/parallel.h"

namespace tessera::cpu {
namespace {
constexpr int64_t kMaxSlots = 64;  // combined at a time
}  // namespace

// A counting sort.
void sort_slots(Stream&, const Tensor& index, const Tensor& place_of_expert, const Tensor& slots,
                const Tensor& position, const Tensor& offsets) {
  const auto* place = place_of_expert.as<int32_t>();
  auto* begin = offsets.as<int64_t>();
  std::fill_n(begin, offsets.size(), int64_t{0});
  for (int64_t r = 0; r < index.rows(); ++r)
    for (int64_t s = 0; s < index.columns(); ++s) ++begin[place[index.row<int32_t>(r)[s]] + 1];
  std::partial_sum(begin, begin + offsets.size(), begin);
  std::vector<int64_t> next(begin, begin + place_of_expert.size());
  for (int64_t r = 0; r < index.rows(); ++r)
    for (int64_t s = 0; s < index.columns(); ++s) {
      const int64_t at = next[static_cast<size_t>(place[index.row<int32_t>(r)[s]])]++;
      slots.as<int32_t>()[at] = static_cast<int32_t>(r * index.columns() + s);
      position.row<int32_t>(r)[s] = static_cast<int32_t>(at);
    }
}

void gather_rows(Stream&, const Tensor& x, const Tensor& rows, int64_t divisor, const Tensor& out) {
  const auto* row = rows.as<int32_t>();
  const auto bytes = static_cast<size_t>(x.columns() * size_of(x.dtype()));
  for_rows(out.rows(), out.columns(),
           [&](int64_t i) { std::memcpy(at(out, i), at(x, row[i] / divisor), bytes); });
}

void combine_rows(Stream&, const Tensor& y, const Tensor& position, const Tensor& weights,
                  const Tensor& out) {
  const int64_t slots = position.columns();
  check(slots <= kMaxSlots, "combine_rows: at most", kMaxSlots, "slots a row, not", slots);
  std::array<float, kMaxSlots> ones;
  ones.fill(1);
  for_rows(out.rows(), out.columns() * slots, [&](int64_t r) {
    std::array<const void*, kMaxSlots> rows;
    for (int64_t s = 0; s < slots; ++s)
      rows[static_cast<size_t>(s)] = at(y, position.row<int32_t>(r)[s]);
    loops().router.combine(element_of(y), rows.data(),
                           weights.empty() ? ones.data() : weights.row<float>(r), slots, at(out, r),
                           out.columns());
  });
}

void weigh_rows(Stream&, const Tensor& weights, const Tensor& g, const Tensor& h,
                const Tensor& dweights) {
  for_rows(g.rows(), g.columns(), [&](int64_t r) {
    loops().router.weigh(element_of(g), weights.as<float>()[r], at(g, r), at(h, r), g.columns(),
                         dweights.as<float>() + r);
  });
}

}  // namespace tessera::cpu
