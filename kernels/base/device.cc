// SPDX-License-Identifier: Apache-2.0
#include "kernels/base/device.h"

namespace tessera {

std::string name(Device device) {
  switch (device.kind) {
    case Device::Kind::cpu: return "cpu";
    case Device::Kind::reference: return "reference";
    case Device::Kind::cuda: return "cuda:" + std::to_string(device.index);
    case Device::Kind::dry: return "dry";
  }
  return "unknown";
}

}  // namespace tessera
