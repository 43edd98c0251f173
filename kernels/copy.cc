// SPDX-License-Identifier: Apache-2.0
#include "kernels/copy.h"

#include "kernels/arguments.h"
#include "kernels/backend.h"

namespace tessera {

void copy(Stream& stream, const Tensor& in, const Tensor& out) {
  const Arguments arguments(stream, "copy:");
  arguments.on_device({{"in", in}, {"out", out}});
  arguments.same_shape({"in", in}, {"out", out});
  arguments.same_type({"in", in}, {"out", out});
  if (in.size() == 0 || (in.data() == out.data() && in.pitch() == out.pitch())) return;
  stream.backend().copy(stream, in, out);
}

void cast(Stream& stream, const Tensor& in, const Tensor& out) {
  const Arguments arguments(stream, "cast:");
  arguments.on_device({{"in", in}, {"out", out}});
  arguments.same_shape({"in", in}, {"out", out});
  arguments.floating({"in", in});
  arguments.floating({"out", out});
  if (in.dtype() == out.dtype()) return copy(stream, in, out);
  stream.backend().cast(stream, in, out);
}

void fill(Stream& stream, double value, const Tensor& out) {
  Arguments(stream, "fill:").on_device({{"out", out}});
  stream.backend().fill(stream, value, out);
}

void transpose(Stream& stream, const Tensor& in, const Tensor& out) {
  const Arguments arguments(stream, "transpose:");
  arguments.on_device({{"in", in}, {"out", out}});
  arguments.matrix({"out", out}, in.columns(), in.rows());
  arguments.same_type({"in", in}, {"out", out});
  stream.backend().transpose(stream, in, out);
}

}  // namespace tessera
