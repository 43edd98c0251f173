// SPDX-License-Identifier: Apache-2.0
#include "launch/run_directory.h"

#include <cstdio>
#include <filesystem>
#include <fstream>

namespace tessera {
namespace {

namespace fs = std::filesystem;

void replace(std::string& text, const std::string& what, const std::string& with) {
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + with.size()))
    text.replace(at, what.size(), with);
}

std::string numbered(int rank) {
  char digits[16];
  std::snprintf(digits, sizeof digits, "%04d", rank);
  return digits;
}

}  // namespace

RunDirectory RunDirectory::prepare(const std::string& path, bool fresh) {
  RunDirectory run(path);
  std::error_code error;
  if (fresh && fs::exists(path) && !fs::is_empty(path, error)) {
    int number = 1;
    while (fs::exists(path + "." + std::to_string(number))) ++number;
    run.moved_to_ = path + "." + std::to_string(number);
    fs::rename(path, run.moved_to_, error);
    check(!error, ErrorKind::storage, "cannot rename " + path + " to " + run.moved_to_ + ":",
          error.message());
  }
  fs::create_directories(path + "/logs", error);
  check(!error, ErrorKind::storage, "cannot make the run directory " + path + ":", error.message(),
        "(choose another with --run-dir)");
  const std::string probe = path + "/.writable";
  const bool writable = std::ofstream(probe).good();
  fs::remove(probe, error);
  check(writable, ErrorKind::storage,
        "cannot write in the run directory " + path + " (choose another with --run-dir)");
  return run;
}

std::string RunDirectory::checkpoints(const Recipe& recipe) const {
  std::string directory = recipe.checkpoint.directory;
  replace(directory, "{run}", path_);
  replace(directory, "{name}", recipe.name);
  return directory;
}

std::string RunDirectory::log(int rank) const {
  return path_ + "/logs/rank-" + numbered(rank) + ".log";
}

void RunDirectory::write_resolved(const std::string& yaml) const {
  const std::string path = path_ + "/recipe.resolved.yaml";
  std::ofstream out(path);
  out << yaml;
  out.close();
  check(out.good(), ErrorKind::storage, "cannot write " + path);
}

}  // namespace tessera
