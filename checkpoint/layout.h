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
inline constexpr const char* kTemporaryPrefix = ".tmp-";      // a save in flight, or one that died
inline constexpr const char* kTrashPrefix = ".trash-";        // being deleted
inline constexpr const char* kQuarantineName = "quarantine";  // directory of what was set aside

std::string step_name(int64_t step);                            // "step-00000050"
std::optional<int64_t> parse_step_name(std::string_view name);  // nullopt for any other name
std::string shard_name(int writer);                             // "rank-0003.h5"
std::string index_name(int writer);                             // "rank-0003.index.json"
std::string unique_suffix();                                    // 16 random hex digits

// ".tmp-step-00000060.7.0123456789abcdef" of generation 7 (checkpoint/lease.h), and
// ".tmp-step-00000060.0123456789abcdef" of generation 0: of a writer without a lease.
std::string temporary_name(int64_t step, int64_t generation);
std::string trash_name(int64_t step);  // ".trash-step-00000020.0123456789abcdef"

// The step and the generation that the name of a temporary or trash directory tells.
struct Remains {
  int64_t step = 0;
  int64_t generation = 0;  // 0 for trash
};
std::optional<Remains> parse_remains(std::string_view name);  // nullopt for any other name

// "step-00000020.damaged", and "step-00000020.damaged.2" when that name is taken.
std::optional<int64_t> parse_quarantine_name(std::string_view name);  // the step
bool is_checkpoint_file(std::string_view name);  // one that a checkpoint's directory may hold

}  // namespace tessera
