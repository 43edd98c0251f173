// SPDX-License-Identifier: Apache-2.0
#include "kernels/shift.h"

#include "kernels/arguments.h"
#include "kernels/backend.h"

namespace tessera {

void shift(Stream& stream, const Tensor& in, const Tensor& document_starts, int64_t sequence_length,
           int64_t by, int32_t beyond, const Tensor& out) {
  const Arguments arguments(stream, "shift:");
  arguments.on_device({{"in", in}, {"out", out}});
  arguments.of_type({"in", in}, DType::i32);
  arguments.of_type({"out", out}, DType::i32);
  arguments.vector({"in", in}, in.size());
  arguments.vector({"out", out}, in.size());
  arguments.holds(sequence_length > 0 && in.size() % sequence_length == 0, "whole sequences");
  arguments.holds(by >= 0, "by >= 0");
  if (!document_starts.empty()) {
    arguments.on_device({{"document_starts", document_starts}});
    arguments.of_type({"document_starts", document_starts}, DType::i32);
    arguments.vector({"document_starts", document_starts}, in.size());
  }
  stream.backend().shift(stream, in, document_starts, sequence_length, by, beyond, out);
}

}  // namespace tessera
