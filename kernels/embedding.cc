// SPDX-License-Identifier: Apache-2.0
#include "kernels/embedding.h"

#include "kernels/arguments.h"
#include "kernels/backend.h"

namespace tessera {

void embedding(Stream& stream, const Tensor& tokens, int64_t first_token, const Tensor& table,
               const Tensor& out) {
  const Arguments arguments(stream, "embedding:");
  arguments.on_device({{"tokens", tokens}, {"table", table}, {"out", out}});
  arguments.computable({"table", table});
  arguments.vector({"tokens", tokens}, out.rows());
  arguments.of_type({"tokens", tokens}, DType::i32);
  arguments.matrix({"out", out}, out.rows(), table.columns());
  arguments.same_type({"table", table}, {"out", out});
  stream.backend().embedding(stream, tokens, first_token, table, out);
}

void embedding_backward(Stream& stream, const Tensor& tokens, int64_t first_token, const Tensor& dy,
                        const Tensor& dtable) {
  const Arguments arguments(stream, "embedding_backward:");
  arguments.on_device({{"tokens", tokens}, {"dy", dy}, {"dtable", dtable}});
  arguments.computable({"dy", dy});
  arguments.vector({"tokens", tokens}, dy.rows());
  arguments.of_type({"tokens", tokens}, DType::i32);
  arguments.matrix({"dtable", dtable}, dtable.rows(), dy.columns());
  arguments.of_type({"dtable", dtable}, accumulation_type(dy.dtype()));
  stream.backend().embedding_backward(stream, tokens, first_token, dy, dtable);
}

}  // namespace tessera
