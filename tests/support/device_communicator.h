// SPDX-License-Identifier: Apache-2.0
// A Communicator of GPUs for tests that know the host's memory: the inverse of host staging. Every
// tensor is copied to the device, tensors that share memory sharing it there, too; what a call may
// write, and its input, comes back when it is waited for.
#pragma once

#include <memory>

#include "parallel/communicator.h"

namespace tessera::test {

// `over` outlives it. Streams of its calls are not used: it has one on `device`.
std::unique_ptr<Communicator> device_communicator(Communicator& over, Device device);

}  // namespace tessera::test
