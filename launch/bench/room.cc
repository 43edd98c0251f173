// SPDX-License-Identifier: Apache-2.0
#include "kernels/base/check.h"
#include "kernels/cuda_plugin.h"
#include "launch/bench/bench.h"
#include "launch/report/format.h"
#include "launch/run/preflight.h"

namespace tessera {

void check_room(const std::string& sizes, double bytes, Device device) {
  const int64_t free = device.kind == Device::Kind::cuda
                           ? cuda_accelerator().memory(device.index).free
                           : available_memory();
  check(free == 0 || bytes <= static_cast<double>(free), ErrorKind::capacity,
        sizes + " would need " + as_binary_bytes(bytes) + ", but " +
            as_binary_bytes(static_cast<double>(free)) + " are free: choose smaller ones");
}

}  // namespace tessera
