// SPDX-License-Identifier: Apache-2.0
#include "kernels/permute.h"

#include "kernels/arguments.h"
#include "kernels/backend.h"

namespace tessera {

void sort_slots(Stream& stream, const Tensor& index, const Tensor& place_of_expert,
                const Tensor& slots, const Tensor& position, const Tensor& offsets) {
  const Arguments arguments(stream, "sort_slots:");
  const Argument chosen{"index", index}, place{"place_of_expert", place_of_expert},
      out{"slots", slots}, where{"position", position}, begin{"offsets", offsets};
  arguments.on_device({chosen, place, out, where, begin});
  for (const Argument& argument : {chosen, place, out, where})
    arguments.of_type(argument, DType::i32);
  arguments.of_type(begin, DType::i64);
  arguments.same_shape(chosen, where);
  arguments.vector(out, index.size());
  arguments.vector(begin, place_of_expert.size() + 1);
  arguments.vector(place, place_of_expert.size());
  stream.backend().sort_slots(stream, index, place_of_expert, slots, position, offsets);
}

void gather_rows(Stream& stream, const Tensor& x, const Tensor& rows, int64_t divisor,
                 const Tensor& out) {
  const Arguments arguments(stream, "gather_rows:");
  const Argument in{"x", x}, which{"rows", rows}, to{"out", out};
  arguments.on_device({in, which, to});
  arguments.of_type(which, DType::i32);
  arguments.same_type(in, to);
  arguments.matrix(to, rows.size(), x.columns());
  arguments.vector(which, rows.size());
  arguments.holds(divisor > 0, "a divisor");
  if (out.size() > 0) stream.backend().gather_rows(stream, x, rows, divisor, out);
}

void combine_rows(Stream& stream, const Tensor& y, const Tensor& position, const Tensor& weights,
                  const Tensor& out) {
  const Arguments arguments(stream, "combine_rows:");
  const Argument in{"y", y}, where{"position", position}, to{"out", out};
  arguments.on_device({in, where, to});
  arguments.computable(in);
  arguments.of_type(where, DType::i32);
  arguments.same_type(in, to);
  arguments.matrix(to, position.rows(), y.columns());
  if (!weights.empty()) {
    const Argument factor{"weights", weights};
    arguments.on_device({factor});
    arguments.of_type(factor, accumulation_type(y.dtype()));
    arguments.same_shape(where, factor);
  }
  if (out.size() > 0) stream.backend().combine_rows(stream, y, position, weights, out);
}

void weigh_rows(Stream& stream, const Tensor& weights, const Tensor& g, const Tensor& h,
                const Tensor& dweights) {
  const Arguments arguments(stream, "weigh_rows:");
  const Argument w{"weights", weights}, gradient{"g", g}, value{"h", h}, dw{"dweights", dweights};
  arguments.on_device({w, gradient, value, dw});
  arguments.computable(gradient);
  arguments.same_type(gradient, value);
  arguments.same_shape(gradient, value);
  for (const Argument& factor : {w, dw}) {
    arguments.of_type(factor, accumulation_type(g.dtype()));
    arguments.vector(factor, g.rows());
  }
  if (g.size() > 0) stream.backend().weigh_rows(stream, weights, g, h, dweights);
}

}  // namespace tessera
