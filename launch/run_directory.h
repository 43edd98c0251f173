// SPDX-License-Identifier: Apache-2.0
// runs/NAME and the files in it (docs/recipes.md, "Files of a run").
#pragma once

#include <string>

#include "launch/recipe_reader.h"

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
  // fresh: an earlier run is first renamed to PATH.1, PATH.2 ...; nothing is lost. A directory that
  // is no run stays where it is.
  static RunDirectory prepare(const std::string& path, bool fresh);

  const std::string& path() const { return path_; }
  std::string checkpoints(const Recipe& recipe) const;  // {run} and {name} replaced
  std::string log(int rank) const;                      // logs/rank-0003.log
  std::string metrics() const { return path_ + "/metrics.jsonl"; }
  void write_resolved(const std::string& yaml) const;        // recipe.resolved.yaml
  const std::string& moved_to() const { return moved_to_; }  // the earlier run, if one was renamed

 private:
  bool holds_run() const;
  std::string path_;
  std::string moved_to_;
};

}  // namespace tessera
