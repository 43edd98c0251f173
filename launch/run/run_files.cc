// SPDX-License-Identifier: Apache-2.0
#include "launch/run/run_files.h"

#include <filesystem>
#include <utility>

#include "kernels/base/log.h"
#include "kernels/base/warning.h"
#include "launch/job/in_world.h"
#include "launch/job/ready_file.h"
#include "launch/run/room_check.h"
#include "parallel/section.h"

namespace tessera {

bool RunFiles::is_there_to_resume() const {
  const std::string root = job_.directory.checkpoints(job_.recipe);
  const bool there =
      std::filesystem::exists(job_.directory.path()) || std::filesystem::exists(root);
  return there && job_.command.resume != "none";
}

void RunFiles::take_if(const std::function<bool()>& wanted) {
  in_agreement(job_.world, "run directory", [&] {
    if (!job_.leads() || hold_.holds()) return;
    const std::string root = job_.directory.checkpoints(job_.recipe);
    const bool resumes = job_.command.resume == "auto";
    if (job_.command.check_only) {
      if (resumes) refuse_vanished(job_.storage, job_.directory, root);
      return;
    }
    if (!wanted()) return;
    hold_ = RunHold::take(job_.storage, job_.directory, root,
                          {.fresh = job_.command.resume == "none",
                           .expects_own = resumes,
                           .take_over = job_.command.take_over});
    if (!hold_.moved_to().empty()) log::info("run      the earlier run is now " + hold_.moved_to());
  });
}

void RunFiles::open() {
  const World& world = job_.world;
  in_agreement(job_.world, "run directory", [&] {
    if (job_.leads()) job_.directory.write_resolved(job_.resolved);
  });
  const std::string own_log = job_.directory.log(world.rank());
  log::open_file(own_log);
  keep_waiting_notes(parent_directory(own_log), world.rank(), world.size());
}

int64_t RunFiles::settle_line(const Trainer& trainer, const Origin& origin) {
  int64_t bytes = 0, generation = 0;
  for (const StateEntry& entry : trainer.state().entries)
    if (entry.owner) bytes += entry.tensor.bytes();
  bytes = job_.world.all().all_reduce(bytes, Reduce::sum, "checkpoint bytes");
  in_agreement(job_.world, "checkpoints", [&] {
    if (!job_.leads()) return;
    const std::string root = job_.directory.checkpoints(job_.recipe);
    for (const std::string& line : hold_.settle_line(job_.storage, origin.base, origin.damaged))
      log::info("ckpt     " + line);
    const std::string shortage = lack_of_room(job_.storage, root, bytes, job_.recipe);
    if (!shortage.empty()) log::warn(coded(Warning::disk_too_small, shortage));
    generation = hold_.generation();
  });
  return job_.world.all().all_reduce(generation, Reduce::max, "generation");
}

void RunFiles::saved(int64_t step) {
  hold_.saved(step);
  if (!std::exchange(saved_, true)) tell_supervisor("saved");
}

}  // namespace tessera
