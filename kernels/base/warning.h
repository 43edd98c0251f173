// SPDX-License-Identifier: Apache-2.0
// Everything that the program warns of, under a code that scripts can look for and that
// docs/warnings.md explains.
#pragma once

#include <span>
#include <string>

namespace tessera {

enum class Warning : int {
  retention_failed,
  damaged_passed_over,
  other_instruction_set,
  trace_unwritten,
  gpus_shared,
  other_device,
  plugin_lacks_library,
  step_skipped,
  save_failed,
  disk_full_made_room,
  foreign_step_set_aside,
  disk_too_small,
  prompt_too_long,
  earlier_group_rule,
  evaluation_cut_short,
  init_from_unused,
  ready_file_unwritable,
  log_unwritable,
  records_missing,
  other_program,
  data_doubtful,
};

struct WarningRow {
  Warning warning;
  const char* code;     // "W010"
  const char* name;     // "retention_failed"
  const char* meaning;  // one sentence
};

// One row for each of them, in the order of the enum.
std::span<const WarningRow> warnings();

const char* code(Warning warning);

// "W010 text": how a warning stands in logs.
std::string coded(Warning warning, const std::string& text);

}  // namespace tessera
