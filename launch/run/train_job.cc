// SPDX-License-Identifier: Apache-2.0
#include "launch/run/train_job.h"

#include <utility>

#include "checkpoint/reader.h"
#include "kernels/base/warning.h"
#include "launch/job/device_choice.h"
#include "launch/job/in_world.h"
#include "launch/open_checkpoint.h"
#include "launch/run/scalar_lines.h"
#include "launch/version.h"
#include "trainer/training_plan.h"

namespace tessera {

TrainJob::TrainJob(const TrainCommand& asked, World& all)
    : command(asked),
      world(all),
      loaded(load_together(world, command.recipe, command.overrides, world.size())),
      recipe(loaded.recipe),
      directory(command.run_dir.empty() ? "runs/" + recipe.name : command.run_dir),
      device(preflight()),
      gpu_groups(world, recipe.on_failure.hang_timeout_seconds),
      comms(world, ProcessGrid::filling(world.size(), grid_sizes(recipe.parallel)),
            recipe.model.kv_replicas(recipe.parallel.tensor)) {
  gpu_groups.fit(comms, device);
  // Ranks have devices of their own; a checkpoint tells of rank 0's.
  const MadeOn mine = made_on(device, world.size(), world.library());
  machine =
      made_on(from_lines(world.all().broadcast(to_lines(scalars_of(mine)), 0, "made on"))).value();
  resolved = resolved_yaml(loaded, header());
}

Device TrainJob::preflight() {
  Device found;
  in_agreement(world, "preflight", [&] {
    found = resolve_device(recipe.run.device, world.local_rank());
    data = check_data(recipe);
    if (leads()) look_at_files();  // one rank looks, so that all load the same
  });
  made = agree_on(world, recipe, made_with(recipe, data));
  if (leads())
    for (const std::string& doubt : data.doubts)
      warnings.push_back(coded(Warning::data_doubtful, doubt));
  resume_from = world.all().broadcast(resume_from, 0, "resume from");
  init_from = world.all().broadcast(init_from, 0, "init from");
  const Device settled = settle_device(world, recipe.run.device, found);
  in_agreement(world, "preflight", [&] { choose_tf32(settled, recipe.precision.tf32); });
  in_agreement(world, "memory", [&] { fit = check_memory(world, recipe, settled); });
  return settled;
}

void TrainJob::look_at_files() {
  check_token_ids(recipe);
  directory.check_place(recipe, command.resume == "none");
  look_at_checkpoints();
}

// Each one asked for by name is there and can be read.
void TrainJob::look_at_checkpoints() {
  for (const auto& [wish, path] :
       {std::pair{&command.resume, &resume_from}, std::pair{&command.init_from, &init_from}}) {
    if (wish->empty() || *wish == "auto" || *wish == "none") continue;
    if (path == &init_from && is_hub_model(storage, *wish)) {
      *path = *wish;
      HubModel::open(storage, *path).parameters();
      continue;
    }
    *path = resolve_checkpoint(storage, *wish);
    CheckpointReader::open(storage, *path);
  }
}

std::vector<std::string> TrainJob::header() const {
  return {version_string() + ", recipe " + loaded.path,
          "ranks " + std::to_string(world.size()) + " = " + comms.grid().to_string(),
          describe_cpu() + ", " + (device.is_host() ? "" : describe(device) + ", ") +
              world.library() + ", " + build_description()};
}

}  // namespace tessera
