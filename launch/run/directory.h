// SPDX-License-Identifier: Apache-2.0
// runs/NAME and the files in it (docs/recipes.md, "Files of a run").
#pragma once

#include <cstdint>
#include <string>

#include "launch/recipe/reader.h"

namespace tessera {

class RunDirectory {
 public:
  // path() is what is used and shown: the path without "/" at its end, "./" and "x/../".
  explicit RunDirectory(const std::string& path);
  // Refuses what can be refused without touching anything. Error{storage}: the place cannot be
  // written. fresh: Error{usage} when an earlier run would have to be renamed but cannot be,
  // because it is the working directory or above it, or holds files that `recipe` reads.
  void check_place(const Recipe& recipe, bool fresh) const;

  // Makes the directory and logs/ below it. Throws Error{storage} when it cannot be written.
  void prepare() const;
  bool holds_a_run() const;         // a resolved recipe, metrics or checkpoints are in it
  std::string move_away() const;    // renames it to PATH.1, PATH.2 ... and says which
  int64_t last_saved_step() const;  // as metrics.jsonl tells; -1: no save succeeded

  const std::string& path() const { return path_; }
  std::string checkpoints(const Recipe& recipe) const;  // {run} and {name} replaced
  std::string log(int rank) const;                      // logs/rank-0003.log
  std::string metrics() const { return path_ + "/metrics.jsonl"; }
  void write_resolved(const std::string& yaml) const;  // recipe.resolved.yaml

 private:
  std::string path_;
};

}  // namespace tessera
