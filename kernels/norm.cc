// SPDX-License-Identifier: Apache-2.0
#include "kernels/norm.h"

#include "kernels/arguments.h"
#include "kernels/backend.h"

namespace tessera {

void rms_norm(Stream& stream, const Tensor& x, const Tensor& weight, double epsilon,
              const Tensor& y, const Tensor& inv_rms) {
  const Arguments arguments(stream, "rms_norm:");
  arguments.on_device({{"x", x}, {"weight", weight}, {"y", y}, {"inv_rms", inv_rms}});
  arguments.computable({"x", x});
  arguments.same_shape({"x", x}, {"y", y});
  arguments.same_type({"x", x}, {"y", y});
  arguments.vector({"weight", weight}, x.columns());
  arguments.same_type({"x", x}, {"weight", weight});
  arguments.vector({"inv_rms", inv_rms}, x.rows());
  arguments.of_type({"inv_rms", inv_rms}, accumulation_type(x.dtype()));
  stream.backend().rms_norm(stream, x, weight, epsilon, y, inv_rms);
}

void rms_norm_backward_input(Stream& stream, const Tensor& x, const Tensor& weight,
                             const Tensor& inv_rms, const Tensor& dy, const Tensor& dx) {
  const Arguments arguments(stream, "rms_norm_backward_input:");
  arguments.on_device({{"x", x}, {"weight", weight}, {"inv_rms", inv_rms}, {"dy", dy}, {"dx", dx}});
  arguments.computable({"x", x});
  for (const Argument& other : {Argument{"dy", dy}, Argument{"dx", dx}}) {
    arguments.same_shape({"x", x}, other);
    arguments.same_type({"x", x}, other);
  }
  arguments.vector({"weight", weight}, x.columns());
  arguments.same_type({"x", x}, {"weight", weight});
  arguments.vector({"inv_rms", inv_rms}, x.rows());
  arguments.of_type({"inv_rms", inv_rms}, accumulation_type(x.dtype()));
  stream.backend().rms_norm_backward_input(stream, x, weight, inv_rms, dy, dx);
}

void rms_norm_backward_weight(Stream& stream, const Tensor& x, const Tensor& inv_rms,
                              const Tensor& dy, const Tensor& dweight) {
  const Arguments arguments(stream, "rms_norm_backward_weight:");
  arguments.on_device({{"x", x}, {"inv_rms", inv_rms}, {"dy", dy}, {"dweight", dweight}});
  arguments.computable({"x", x});
  arguments.same_shape({"x", x}, {"dy", dy});
  arguments.same_type({"x", x}, {"dy", dy});
  arguments.vector({"inv_rms", inv_rms}, x.rows());
  arguments.of_type({"inv_rms", inv_rms}, accumulation_type(x.dtype()));
  arguments.vector({"dweight", dweight}, x.columns());
  arguments.of_type({"dweight", dweight}, accumulation_type(x.dtype()));
  stream.backend().rms_norm_backward_weight(stream, x, inv_rms, dy, dweight);
}

}  // namespace tessera
