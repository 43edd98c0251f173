// SPDX-License-Identifier: Apache-2.0
#include "kernels/update.h"

#include "kernels/arguments.h"
#include "kernels/backend.h"

namespace tessera {

void adamw_update(Stream& stream, const AdamW& adamw, const Tensor& controls, const Tensor& grad,
                  const Tensor& master, const Tensor& m, const Tensor& v, const Tensor& compute) {
  const Arguments arguments(stream, "adamw_update:");
  arguments.on_device({{"controls", controls},
                       {"grad", grad},
                       {"master", master},
                       {"m", m},
                       {"v", v},
                       {"compute", compute}});
  arguments.vector({"controls", controls}, kNumControls);
  arguments.of_type({"controls", controls}, DType::f64);
  arguments.computable({"master", master});
  arguments.of_type({"master", master}, accumulation_type(master.dtype()));
  arguments.computable({"compute", compute});
  for (const Argument& other : {Argument{"grad", grad}, Argument{"m", m}, Argument{"v", v}}) {
    arguments.vector(other, master.size());
    arguments.same_type({"master", master}, other);
  }
  arguments.vector({"master", master}, master.size());
  arguments.vector({"compute", compute}, master.size());
  stream.backend().adamw_update(stream, adamw, controls, grad, master, m, v, compute);
}

}  // namespace tessera
