// SPDX-License-Identifier: Apache-2.0
// `tessera checkpoint reshard`: a checkpoint rewritten for the ranks of another layout.
#include "trainer/reshard.h"

#include <cstdio>
#include <memory>
#include <optional>

#include <nlohmann/json.hpp>

#include "kernels/base/log.h"
#include "launch/new_step.h"
#include "launch/open_checkpoint.h"
#include "launch/report/format.h"
#include "launch/report/progress.h"
#include "launch/run/made_on.h"
#include "launch/verb/common_flags.h"
#include "launch/verb/verbs.h"
#include "launch/version.h"
#include "trainer/training_plan.h"

namespace tessera {
namespace {

struct ReshardCommand {
  std::string checkpoint;
  std::string output;  // directory of steps to write into
  std::vector<std::string> overrides;
  std::optional<int> ranks;  // absent: as many as the layout names
  bool json = false;
  bool take_over = false;
};

// What decides how tensors are cut, or which layouts are legal; all else would change the run.
void check_overrides(const std::vector<std::string>& overrides) {
  for (const std::string& change : overrides)
    check(change.starts_with("parallel.") || change.starts_with("batch.micro="), ErrorKind::usage,
          "checkpoint reshard: `" + change +
              "` is no layout; here parallel.* and batch.micro may change");
}

// Comments on top of the stored recipe, for people: this layout, and what computed the weights.
std::vector<std::string> header_of(const CheckpointReader& from, int ranks) {
  std::vector<std::string> lines = {"ranks " + std::to_string(ranks) + ", resharded by " +
                                    version_string()};
  if (const auto made = made_on(from.scalars()))
    lines.push_back("computed by " + made->hardware + ", " + made->transport + ", " + made->build);
  return lines;
}

int run_reshard(const ReshardCommand& command) {
  check_overrides(command.overrides);
  PosixStorage storage;
  CheckpointReader from =
      CheckpointReader::open(storage, resolve_checkpoint(storage, command.checkpoint));
  const auto recipe_on = [&](int ranks) {
    return parse_recipe(from.recipe(), from.directory() + "/manifest.json (recipe)",
                        command.overrides, ranks);
  };
  int ranks = command.ranks.value_or(0);
  check(!command.ranks || ranks >= 1, ErrorKind::usage,
        "checkpoint reshard: -n wants at least 1 rank, got", ranks);
  if (!command.ranks) ranks = ranks_of(recipe_on(0).recipe.parallel);
  const LoadedRecipe loaded = recipe_on(ranks);

  int64_t bytes = 0;
  for (const GlobalTensor& tensor : from.tensors()) bytes += tensor.bytes();
  ProgressLine line("reshard", bytes);
  const auto lease =
      hold_for_new_step(storage, command.output, from.manifest().step, command.take_over);
  const ReshardReport report = reshard(storage, from, loaded.recipe,
                                       {.root = command.output,
                                        .num_ranks = ranks,
                                        .recipe = resolved_yaml(loaded, header_of(from, ranks)),
                                        .lease = lease.get()},
                                       [&](int64_t done) { line.at(done); });
  line.finish();
  if (command.json) {
    std::printf("%s\n", nlohmann::ordered_json{{"directory", report.directory},
                                               {"ranks", ranks},
                                               {"layout", report.layout},
                                               {"bytes", report.bytes},
                                               {"bytes_read", report.bytes_read},
                                               {"largest_shard", report.largest_shard}}
                            .dump()
                            .c_str());
    return 0;
  }
  std::printf("%s  %d rank%s = %s, %s, at most %s of it in memory at a time\n",
              report.directory.c_str(), ranks, ranks > 1 ? "s" : "", report.layout.c_str(),
              as_bytes(static_cast<double>(report.bytes)).c_str(),
              as_bytes(static_cast<double>(report.largest_shard)).c_str());
  return 0;
}

}  // namespace

Verb reshard_verb() {
  const auto c = std::make_shared<ReshardCommand>();
  return {
      .name = "reshard",
      .help = "rewrite a checkpoint for other ranks",
      .flags = {checkpoint_row(c->checkpoint),
                overrides_row(c->overrides, "parallel.key=value ... of the new layout"),
                {"-o,--output",
                 &c->output,
                 "directory of steps; no run may be saving there",
                 {},
                 {.required = true}},
                {"-n,--ranks", &c->ranks, "default: what the layout names", Whole{1, kMostRanks}},
                take_over_row(c->take_over),
                json_row(c->json)},
      .run = [c] { return run_reshard(*c); }};
}

}  // namespace tessera
