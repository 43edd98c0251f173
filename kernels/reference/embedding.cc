// SPDX-License-Identifier: Apache-2.0
#include "kernels/embedding.h"

namespace tessera::reference {

void embedding(Stream&, const Tensor& tokens, int64_t first_token, const Tensor& table,
               const Tensor& out) {
  for (int64_t r = 0; r < out.rows(); ++r) {
    const int64_t index = tokens.as<int32_t>()[r] - first_token;
    const bool mine = index >= 0 && index < table.rows();
    for (int64_t i = 0; i < out.columns(); ++i)
      out.row<double>(r)[i] = mine ? table.row<double>(index)[i] : 0;
  }
}

void embedding_backward(Stream&, const Tensor& tokens, int64_t first_token, const Tensor& dy,
                        const Tensor& dtable) {
  for (int64_t r = 0; r < dy.rows(); ++r) {
    const int64_t index = tokens.as<int32_t>()[r] - first_token;
    if (index < 0 || index >= dtable.rows()) continue;
    for (int64_t i = 0; i < dy.columns(); ++i) dtable.row<double>(index)[i] += dy.row<double>(r)[i];
  }
}

}  // namespace tessera::reference
