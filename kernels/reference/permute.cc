// SPDX-License-Identifier: Apache-2.0
#include "kernels/permute.h"

#include <cstring>

namespace tessera::reference {

void sort_slots(Stream&, const Tensor& index, const Tensor& place_of_expert, const Tensor& slots,
                const Tensor& position, const Tensor& offsets) {
  int32_t next = 0;
  for (int64_t place = 0; place < place_of_expert.size(); ++place) {
    offsets.as<int64_t>()[place] = next;
    for (int64_t r = 0; r < index.rows(); ++r)
      for (int64_t s = 0; s < index.columns(); ++s) {
        if (place_of_expert.as<int32_t>()[index.row<int32_t>(r)[s]] != place) continue;
        slots.as<int32_t>()[next] = static_cast<int32_t>(r * index.columns() + s);
        position.row<int32_t>(r)[s] = next++;
      }
  }
  offsets.as<int64_t>()[place_of_expert.size()] = next;
}

void gather_rows(Stream&, const Tensor& x, const Tensor& rows, int64_t divisor, const Tensor& out) {
  const int64_t size = size_of(x.dtype());
  for (int64_t i = 0; i < rows.size(); ++i)
    std::memcpy(
        static_cast<std::byte*>(out.data()) + i * out.pitch() * size,
        static_cast<std::byte*>(x.data()) + rows.as<int32_t>()[i] / divisor * x.pitch() * size,
        static_cast<size_t>(x.columns() * size));
}

void combine_rows(Stream&, const Tensor& y, const Tensor& position, const Tensor& weights,
                  const Tensor& out) {
  for (int64_t r = 0; r < out.rows(); ++r)
    for (int64_t c = 0; c < out.columns(); ++c) {
      double sum = 0;
      for (int64_t s = 0; s < position.columns(); ++s)
        sum += (weights.empty() ? 1 : weights.row<double>(r)[s]) *
               y.row<double>(position.row<int32_t>(r)[s])[c];
      out.row<double>(r)[c] = sum;
    }
}

void weigh_rows(Stream&, const Tensor& weights, const Tensor& g, const Tensor& h,
                const Tensor& dweights) {
  for (int64_t r = 0; r < g.rows(); ++r) {
    const double weight = weights.as<double>()[r];
    double sum = 0;
    for (int64_t c = 0; c < g.columns(); ++c) {
      sum += g.row<double>(r)[c] * h.row<double>(r)[c];
      g.row<double>(r)[c] *= weight;
      h.row<double>(r)[c] *= weight;
    }
    dweights.as<double>()[r] = sum;
  }
}

}  // namespace tessera::reference
