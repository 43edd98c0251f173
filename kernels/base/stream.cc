// SPDX-License-Identifier: Apache-2.0
#include "kernels/base/stream.h"

#include <map>

#include "kernels/backend.h"
#include "kernels/base/check.h"

namespace tessera {

struct Stream::Impl {};

namespace {

std::map<Device::Kind, const Backend*>& replaced_backends() {
  static std::map<Device::Kind, const Backend*> tables;
  return tables;
}

const Backend& backend_of(Device device) {
  const auto replaced = replaced_backends().find(device.kind);
  if (replaced != replaced_backends().end()) return *replaced->second;
  switch (device.kind) {
    case Device::Kind::cpu: return cpu_backend();
    case Device::Kind::reference: return reference_backend();
    case Device::Kind::dry: return dry_backend();
    case Device::Kind::cuda: break;
  }
  fail(ErrorKind::usage, "run.device=cuda: this build has no CUDA backend; use run.device=cpu");
}
}  // namespace

void replace_backend(Device::Kind kind, const Backend* table) {
  if (table != nullptr)
    replaced_backends()[kind] = table;
  else
    replaced_backends().erase(kind);
}

Stream::Stream(Device device) : device_(device), backend_(&backend_of(device)) {}
Stream::~Stream() = default;
void Stream::synchronize() {}  // host streams have run everything already

}  // namespace tessera
