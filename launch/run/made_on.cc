// SPDX-License-Identifier: Apache-2.0
#include "launch/run/made_on.h"

#include "checkpoint/made_with.h"
#include "kernels/base/warning.h"
#include "kernels/cpu_path.h"
#include "launch/job/device_choice.h"
#include "launch/version.h"

namespace tessera {
namespace {

struct Member {
  const char* name;
  std::string MadeOn::*value;
};
constexpr Member kMembers[] = {
    {"device", &MadeOn::device},       {"instruction_set", &MadeOn::instruction_set},
    {"ranks", &MadeOn::ranks},         {"hardware", &MadeOn::hardware},
    {"transport", &MadeOn::transport}, {"build", &MadeOn::build}};

std::string kind_word(const std::string& device) {
  if (device == name(Device{Device::Kind::cpu})) return "CPU";
  if (device == name(Device{Device::Kind::reference})) return "reference device";
  return "GPU";
}

}  // namespace

MadeOn made_on(Device device, int ranks, const std::string& transport) {
  const std::string name_and_number = name(device);
  return {name_and_number.substr(0, name_and_number.find(':')),
          std::string("x86-64-") + name(cpu_path()),
          std::to_string(ranks),
          describe(device),
          transport,
          build_description()};
}

std::map<std::string, std::string> scalars_of(const MadeOn& made) {
  std::map<std::string, std::string> scalars;
  for (const Member& member : kMembers)
    if (!(made.*member.value).empty())
      scalars[std::string(kMadeWith) + member.name] = made.*member.value;
  return scalars;
}

std::optional<MadeOn> made_on(const std::map<std::string, std::string>& scalars) {
  std::optional<MadeOn> made;
  for (const Member& member : kMembers) {
    const auto found = scalars.find(std::string(kMadeWith) + member.name);
    if (found == scalars.end()) continue;
    if (!made) made.emplace();
    (*made).*member.value = found->second;
  }
  return made;
}

std::vector<std::string> moved(const MadeOn& then, const MadeOn& now) {
  std::vector<std::string> warnings;
  if (!then.instruction_set.empty() && then.instruction_set != now.instruction_set)
    warnings.push_back(coded(Warning::other_instruction_set,
                             "saved under another instruction-set path than " +
                                 now.instruction_set +
                                 ": bits may differ from the run that was interrupted"));
  if (!then.device.empty() && then.device != now.device)
    warnings.push_back(
        coded(Warning::other_device,
              "saved on a " + kind_word(then.device) + ", resumed on a " + kind_word(now.device) +
                  ": the rest agrees with the run that was interrupted within rounding only"));
  return warnings;
}

}  // namespace tessera
