// SPDX-License-Identifier: Apache-2.0
// The text of a LEASE file, and what tells one process from another.
#pragma once

#include <string>
#include <string_view>

#include "checkpoint/lease.h"

namespace tessera {

// The generation in a file's name; 0 for any other name.
int64_t parse_lease_name(std::string_view name);
std::string lease_name(int64_t generation);

inline constexpr int64_t kLeaseBytes = 1024;  // every record is padded to this, and written at once
std::string to_text(const LeaseRecord& record);
// A text that cannot be read has known == false.
LeaseRecord parse_lease(const std::string& text, int64_t generation);

// This process as the holder of a lease: host, pid, process and since are filled.
LeaseRecord record_of_this_process();
enum class Presence { alive, gone, unknown };  // unknown: a process of another machine
Presence presence_of(const LeaseRecord& record);

}  // namespace tessera
