// SPDX-License-Identifier: Apache-2.0
// A checkpoint tells what computed it: device, instruction set, ranks, versions. A run writes them
// into the scalars of its checkpoints (docs/formats/checkpoint.md). They never keep a run from
// going on elsewhere; where they change the bits of a result, going on says so. Only the made_on()
// that takes a device asks the machine; the others are pure functions.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kernels/base/device.h"

namespace tessera {

// All text; empty members are not known.
struct MadeOn {
  std::string device;           // "cpu", "reference", "cuda": name(Device) without its number
  std::string instruction_set;  // of the CPU's kernels: "x86-64-v3"
  std::string ranks;            // "4"
  std::string hardware;         // describe() of rank 0's device, for people
  std::string transport;        // World::library(): "Open MPI 4.1.4"
  std::string build;            // build_description(): compiler and libraries
};

// Asks for the parts of this process; `device` is the one that computes.
MadeOn made_on(Device device, int ranks, const std::string& transport);
std::map<std::string, std::string> scalars_of(const MadeOn& made);
// nullopt: no scalar tells, since an earlier version saved the checkpoint or it was imported.
std::optional<MadeOn> made_on(const std::map<std::string, std::string>& scalars);

// Says how results may differ from those of the run that saved `then` when it goes on here, each
// with its code (W012, W015); empty: they do not.
std::vector<std::string> moved(const MadeOn& then, const MadeOn& now);

}  // namespace tessera
