// SPDX-License-Identifier: Apache-2.0
// runs/NAME and the files in it (docs/recipes.md, "Files of a run").
#pragma once

#include <string>

#include "launch/recipe_reader.h"

namespace tessera {

class RunDirectory {
 public:
  // Makes the directory and logs/ below it. Throws Error{storage} when it cannot be written.
  // fresh: an existing run is first renamed to PATH.1, PATH.2 ...; nothing is lost.
  static RunDirectory prepare(const std::string& path, bool fresh);
  explicit RunDirectory(std::string path) : path_(std::move(path)) {}

  const std::string& path() const { return path_; }
  std::string checkpoints(const Recipe& recipe) const;  // {run} and {name} replaced
  std::string log(int rank) const;                      // logs/rank-0003.log
  std::string metrics() const { return path_ + "/metrics.jsonl"; }
  void write_resolved(const std::string& yaml) const;        // recipe.resolved.yaml
  const std::string& moved_to() const { return moved_to_; }  // the earlier run, if one was renamed

 private:
  std::string path_;
  std::string moved_to_;
};

}  // namespace tessera
