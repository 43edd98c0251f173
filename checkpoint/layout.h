// SPDX-License-Identifier: Apache-2.0
// The names on disk of format 1 (docs/formats/checkpoint.md). Every name is derived from a number;
// none is ever read from a file, so no checkpoint can point outside its own directory.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tessera {

inline constexpr int kFormatVersion = 1;
inline constexpr const char* kManifestName = "manifest.json";
inline constexpr const char* kCommitName = "COMMIT";
inline constexpr const char* kTemporaryPrefix = ".tmp-";  // a save in flight, or one that died
inline constexpr const char* kTrashPrefix = ".trash-";    // being deleted

std::string step_name(int64_t step);                            // "step-00000050"
std::optional<int64_t> parse_step_name(std::string_view name);  // nullopt for any other name
std::string shard_name(int writer);                             // "rank-0003.h5"
std::string index_name(int writer);                             // "rank-0003.index.json"
std::string unique_suffix();                                    // 16 random hex digits

}  // namespace tessera
