// SPDX-License-Identifier: Apache-2.0
#include "launch/job/in_world.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <thread>

#include "kernels/base/check.h"
#include "kernels/base/log.h"
#include "launch/failure.h"
#include "launch/job/ready_file.h"
#include "launch/recipe/changes.h"
#include "launch/report/console.h"

namespace tessera {

void in_agreement(World& world, const char* what, const std::function<void()>& body) {
  std::string problem;
  int code = 0;
  try {
    body();
  } catch (...) {
    const Failure failure = failure_in_hand();
    problem = failure.words;
    code = failure.exit_code;
  }
  const auto problems = world.all().all_gather(problem, what);
  code = static_cast<int>(world.all().all_reduce(int64_t{code}, Reduce::max, what));
  for (const std::string& text : problems)
    if (!text.empty()) throw RecipeFailure(world.rank() == 0 ? text : std::string(), code);
}

namespace {

// Ranks that train by different recipes would at best compute nonsense, at worst wait for each
// other without end. Only when there is a difference does the whole recipe travel.
void require_equal(World& world, const LoadedRecipe& loaded) {
  const std::vector<std::string> hashes =
      world.all().all_gather(recipe_hash(loaded.recipe), "recipe hash");
  const auto other = std::find_if(hashes.begin(), hashes.end(),
                                  [&](const std::string& hash) { return hash != hashes.front(); });
  if (other == hashes.end()) return;
  const std::string first = world.all().broadcast(resolved_yaml(loaded, {}), 0, "recipe of rank 0");
  in_agreement(world, "recipe of all", [&] {
    if (world.rank() != other - hashes.begin()) return;
    const Recipe recipe = parse_recipe(first, "the recipe of rank 0", {}, 0).recipe;
    std::string keys;
    for (const RecipeChange& change : recipe_changes(recipe, loaded.recipe))
      keys += (keys.empty() ? "" : ", ") + change.key + " " + change.now + ", not " + change.before;
    fail(ErrorKind::usage, "rank " + std::to_string(world.rank()) +
                               " has another recipe than rank 0: " + keys +
                               ". All ranks of a job take the same recipe and overrides.");
  });
}

}  // namespace

LoadedRecipe load_together(World& world, const std::string& path,
                           const std::vector<std::string>& overrides, int num_ranks) {
  LoadedRecipe loaded;
  in_agreement(world, "recipe", [&] { loaded = load_recipe(path, overrides, num_ranks); });
  require_equal(world, loaded);
  return loaded;
}

int run_in_world(int verbosity, const std::function<int(World&)>& body) {
  World world;
  const log::Level level = verbosity > 0   ? log::Level::debug
                           : verbosity < 0 ? log::Level::warn
                                           : log::Level::info;
  log::set_console(world.rank() == 0 ? level : log::Level::error, stderr_wants_colour());
  // Its last collective is behind all ranks, so each of them has been in main().
  if (world.rank() == 0) tell_supervisor("ready");
  try {
    return body(world);
  } catch (...) {
    const Failure failure = failure_in_hand();
    if (!failure.is_error) {
      // Agreed by all ranks: everybody leaves in order, rank 0 speaks.
      return tell(failure);
    }
    // Mostly all ranks fail alike: rank 0 speaks first and ends the job, within two seconds.
    if (world.rank() != 0) std::this_thread::sleep_for(std::chrono::seconds(3));
    World::abort(tell(failure));
  }
}

}  // namespace tessera
