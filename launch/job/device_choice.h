// SPDX-License-Identifier: Apache-2.0
// Which device a rank computes on, from the recipe's run.device and the rank's place on its node.
#pragma once

#include <string>

#include "kernels/base/device.h"
#include "parallel/world.h"

namespace tessera {

// cpu | reference | cuda | auto -> a Device; of several GPUs the one at local_rank, counted round.
// auto: cuda where it can be used. Throws Error{usage} when the device cannot be used.
Device resolve_device(const std::string& name, int local_rank);

// The same for all ranks of a job, of which `mine` is this rank's: what auto finds is used only if
// all ranks found it. Says once when ranks share a GPU (W014), and what the plugin was built
// without and what follows (W016). Collective.
Device settle_device(World& world, const std::string& name, Device mine);

// precision.tf32: makes f32 products of the device round to TF32 or not. Throws Error{usage} where
// it is wanted of a device that has no TF32.
void choose_tf32(Device device, bool wanted);

// What `tessera train` says about it: "cpu x86-64-v4, 2 threads a rank".
std::string describe(Device device);
std::string describe_cpu();

}  // namespace tessera
