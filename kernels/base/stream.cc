// SPDX-License-Identifier: Apache-2.0
#include "kernels/base/stream.h"

#include "kernels/backend.h"
#include "kernels/base/check.h"

namespace tessera {

struct Stream::Impl {};

namespace {
const Backend& backend_of(Device device) {
  switch (device.kind) {
    case Device::Kind::cpu: return cpu_backend();
    case Device::Kind::reference: return reference_backend();
    case Device::Kind::dry: return dry_backend();
    case Device::Kind::cuda: break;
  }
  fail(ErrorKind::usage, "run.device=cuda: this build has no CUDA backend; use run.device=cpu");
}
}  // namespace

Stream::Stream(Device device) : device_(device), backend_(&backend_of(device)) {}
Stream::~Stream() = default;
void Stream::synchronize() {}  // host streams have run everything already

}  // namespace tessera
