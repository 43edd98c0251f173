// SPDX-License-Identifier: Apache-2.0
#include "launch/run/hold.h"

#include <filesystem>

#include "checkpoint/line.h"
#include "checkpoint/retention.h"
#include "kernels/base/check.h"
#include "launch/report/format.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

std::string bytes_text(int64_t bytes) {
  return as_bytes(static_cast<double>(bytes));
}

}  // namespace

void refuse_vanished(Storage& storage, const RunDirectory& run, const std::string& checkpoints) {
  const auto before = newest_lease(storage, run.path());
  const int64_t saved = std::max(before ? before->saved : -1, run.last_saved_step());
  if (saved < 0 || !survey(storage, checkpoints).empty()) return;
  fail(ErrorKind::checkpoint, checkpoints + ": holds no checkpoint, but " + run.path() +
                                  " has saved step " + std::to_string(saved) +
                                  " before; is a file system not mounted, or checkpoint.directory "
                                  "another one? --resume none starts from nothing, --resume PATH "
                                  "from a copy");
}

RunHold RunHold::take(Storage& storage, const RunDirectory& run, const std::string& checkpoints,
                      const HoldOptions& options) {
  const LeaseOptions how{.take_over = options.take_over};
  RunHold hold;
  const bool earlier = run.holds_a_run();
  std::error_code error;
  fs::create_directories(run.path(), error);
  check(!error, ErrorKind::storage, "cannot make the run directory " + run.path() + ":",
        error.message(), "(choose another with --run-dir)");
  hold.run_ = Lease::take(run.path(), how);
  if (options.fresh && earlier) {
    // The lease moves along with the earlier run; the new directory gets one of its own.
    hold.moved_to_ = run.move_away();
    run.prepare();
    hold.run_ = Lease::take(run.path(), how);
  }
  run.prepare();
  if (options.expects_own) refuse_vanished(storage, run, checkpoints);
  make_directories(storage, checkpoints);
  if (!fs::equivalent(run.path(), checkpoints, error))
    hold.checkpoints_ = Lease::take(checkpoints, how);
  return hold;
}

void RunHold::check_held() const {
  if (!run_) return;
  run_->check_held();
  steps().check_held();
}

void RunHold::saved(int64_t step) const {
  if (!run_) return;
  steps().saved(step);
  if (checkpoints_) run_->saved(step);
}

std::vector<std::string> RunHold::settle_line(Storage& storage, int64_t base,
                                              const std::vector<int64_t>& damaged) const {
  std::vector<std::string> lines;
  const std::string& root = steps().directory();
  // The decision first: from here on no start goes on from what is about to move.
  steps().went_on_from(base);
  for (const Quarantined& moved : set_line(storage, root, base, damaged))
    lines.push_back("moved " + moved.from + " to " + moved.to + " (" + bytes_text(moved.bytes) +
                    ")");
  sweep_remains(storage, root, generation());
  const QuarantineContent content = quarantine_content(storage, root);
  if (!content.names.empty())
    lines.push_back(root + "/quarantine holds " + std::to_string(content.names.size()) +
                    (content.names.size() > 1 ? " directories, " : " directory, ") +
                    bytes_text(content.bytes) + "; tessera checkpoint prune-old " + root +
                    " --quarantine deletes them");
  return lines;
}

}  // namespace tessera
