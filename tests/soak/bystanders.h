// SPDX-License-Identifier: Apache-2.0
// Files of other people beside a run, among its checkpoints, and behind links that stand there.
// Their names are those of a run's own files, or nearly so. Nothing may ever change them.
#pragma once

#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/program.h"

namespace tessera::soak {

class Bystanders {
 public:
  // `place` holds the run directory `run`, which is made here with its directory of checkpoints.
  Bystanders(const std::string& place, const std::string& run) : outside_(place + "/outside") {
    const std::string root = place + "/" + run + "/checkpoints";
    for (const std::string& directory :
         {place + "/" + run + ".1", outside_, root + "/mine", root + "/step-7",
          root + "/step-00000002.bak", root + "/.tmp-mine", root + "/.tmp-step-00000002.1.mine",
          root + "/.trash-step-00000002.0123456789ABCDEF", root + "/quarantine/mine"})
      add_directory(directory);
    add_file(place + "/" + run + ".txt");
    for (const char* name : {"notes.txt", "rank-0000.h5", "COMMIT", "LEASE.txt", "LEASE", "step-"})
      add_file(root + "/" + name);
    std::filesystem::create_symlink(outside_, root + "/elsewhere");
    watched_.push_back(root + "/elsewhere");
    // A run may remove a link with the name of its own remains; what it leads to stays.
    std::filesystem::create_symlink(outside_, root + "/.trash-step-00000003.0123456789abcdef");
    step_ = root + "/step-00000000";
    before_ = look();
  }

  // A run may set this link aside. It stands where a step would be, so a run that has no checkpoint
  // of its own would rightly refuse to begin anew beside it.
  void add_step_of_others() {
    if (step_.empty()) return;
    std::filesystem::create_symlink(outside_, step_);
    step_.clear();
  }

  // Says of each of them that is not what it was; the text is empty when all is well.
  std::string harm() const {
    std::string text;
    const auto now = look();
    for (const auto& [path, content] : before_)
      if (const auto found = now.find(path); found == now.end())
        text += path + " is gone\n";
      else if (found->second != content)
        text += path + " was changed\n";
    for (const auto& [path, content] : now)
      if (!before_.contains(path)) text += path + " was added\n";
    return text;
  }

 private:
  void add_file(const std::string& path) {
    std::ofstream(path, std::ios::binary) << "this is " << path << ", which is nobody's\n";
    watched_.push_back(path);
  }
  void add_directory(const std::string& path) {
    std::filesystem::create_directories(path);
    for (const char* name : {"COMMIT", "manifest.json", "rank-0000.h5", "rank-0000.index.json"})
      std::ofstream(path + "/" + name, std::ios::binary) << "a file in " << path << "\n";
    watched_.push_back(path);
  }

  // Returns contents by path; a link is told by its target.
  std::map<std::string, std::string> look() const {
    namespace fs = std::filesystem;
    std::map<std::string, std::string> found;
    const auto add = [&](const fs::path& path) {
      if (fs::is_symlink(path))
        found[path.string()] = "-> " + fs::read_symlink(path).string();
      else if (fs::is_directory(path))
        found[path.string()] = "a directory";
      else if (fs::exists(path))
        found[path.string()] = read_text(path.string());
    };
    for (const std::string& path : watched_) {
      add(path);
      if (!fs::is_directory(path) || fs::is_symlink(path)) continue;
      for (const auto& entry : fs::recursive_directory_iterator(path)) add(entry.path());
    }
    return found;
  }

  std::string outside_;
  std::string step_;  // the link's path until it is made
  std::vector<std::string> watched_;
  std::map<std::string, std::string> before_;
};

}  // namespace tessera::soak
