// SPDX-License-Identifier: Apache-2.0
#include "kernels/base/warning.h"

#include <array>

namespace tessera {
namespace {

constexpr std::array kRows = std::to_array<WarningRow>({
    {Warning::retention_failed, "W010", "retention_failed",
     "Old checkpoints could not be deleted or moved; the run goes on and tries again at the next "
     "save."},
    {Warning::damaged_passed_over, "W011", "damaged_passed_over",
     "A newer checkpoint is damaged and an older one is read in its place."},
    {Warning::other_instruction_set, "W012", "other_instruction_set",
     "The run goes on from a checkpoint that another instruction-set path computed, so bits may "
     "differ."},
    {Warning::trace_unwritten, "W013", "trace_unwritten",
     "The trace of `profile.steps` could not be written."},
    {Warning::gpus_shared, "W014", "gpus_shared", "Several ranks take turns on one GPU."},
    {Warning::other_device, "W015", "other_device",
     "The run goes on on a CPU from a GPU's checkpoint, or the reverse, and agrees within rounding "
     "only."},
    {Warning::plugin_lacks_library, "W016", "plugin_lacks_library",
     "The CUDA plugin was built without a library, and something is slower or not possible."},
    {Warning::step_skipped, "W020", "step_skipped",
     "A step was not applied, since its gradient was not finite."},
    {Warning::save_failed, "W030", "save_failed", "A checkpoint could not be saved."},
    {Warning::disk_full_made_room, "W032", "disk_full_made_room",
     "The disk was full, and old or damaged checkpoints were deleted before saving again."},
    {Warning::foreign_step_set_aside, "W033", "foreign_step_set_aside",
     "A checkpoint that an earlier job saved beside this run's line was moved to the quarantine."},
    {Warning::disk_too_small, "W034", "disk_too_small",
     "The disk has no room for as many checkpoints as the run is to keep."},
    {Warning::prompt_too_long, "W040", "prompt_too_long",
     "The model has positions for fewer new tokens than were asked for."},
    {Warning::earlier_group_rule, "W050", "earlier_group_rule",
     "The router of the checkpoint was trained when groups of experts were scored by another "
     "rule."},
    {Warning::evaluation_cut_short, "W051", "evaluation_cut_short",
     "A signal ended an evaluation, which can be made up with `tessera eval`."},
    {Warning::init_from_unused, "W052", "init_from_unused",
     "`--init-from` has no effect, since the run goes on from a checkpoint of its own."},
    {Warning::ready_file_unwritable, "W060", "ready_file_unwritable",
     "The file that TESSERA_READY_FILE names cannot be written, so whoever waits for it passes no "
     "signals on."},
    {Warning::log_unwritable, "W061", "log_unwritable",
     "A log file cannot be written and lacks lines until it can; a second warning tells how many."},
    {Warning::records_missing, "W062", "records_missing",
     "metrics.jsonl or TensorBoard's file cannot be written and lacks records until it can; a "
     "second warning tells how many."},
    {Warning::other_program, "W063", "other_program",
     "A rank runs another build of the program than rank 0, so results may differ between them."},
    {Warning::data_doubtful, "W064", "data_doubtful",
     "A recorded hash may be of earlier contents of its file."},
});

}  // namespace

std::span<const WarningRow> warnings() {
  return kRows;
}

const char* code(Warning warning) {
  return kRows[static_cast<size_t>(warning)].code;
}

std::string coded(Warning warning, const std::string& text) {
  return std::string(code(warning)) + " " + text;
}

}  // namespace tessera
