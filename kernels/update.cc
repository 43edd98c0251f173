// SPDX-License-Identifier: Apache-2.0
#include "kernels/update.h"

#include "kernels/arguments.h"
#include "kernels/backend.h"

namespace tessera {

void adamw_update(Stream& stream, const AdamW& adamw, const Tensor& controls,
                  const std::vector<AdamWPart>& parts) {
  const Arguments arguments(stream, "adamw_update:");
  arguments.on_device({{"controls", controls}});
  arguments.vector({"controls", controls}, kNumControls);
  arguments.of_type({"controls", controls}, DType::f64);
  for (const AdamWPart& part : parts) {
    const Argument master{"master", part.master}, compute{"compute", part.compute};
    arguments.on_device({{"grad", part.grad}, master, {"m", part.m}, {"v", part.v}, compute});
    arguments.computable(master);
    arguments.of_type(master, accumulation_type(part.master.dtype()));
    arguments.computable(compute);
    arguments.same_type({"the first compute", parts.front().compute}, compute);
    for (const Argument& other :
         {Argument{"grad", part.grad}, Argument{"m", part.m}, Argument{"v", part.v}}) {
      arguments.vector(other, part.master.size());
      arguments.same_type(master, other);
    }
    arguments.vector(master, part.master.size());
    arguments.vector(compute, part.master.size());
  }
  stream.backend().adamw_update(stream, adamw, controls, parts);
}

}  // namespace tessera
