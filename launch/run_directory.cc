// SPDX-License-Identifier: Apache-2.0
#include "launch/run_directory.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include <nlohmann/json.hpp>
#include <unistd.h>

#include "data/files.h"

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

bool RunDirectory::holds_a_run() const {
  std::error_code error;
  return fs::is_directory(path_, error) && !fs::is_empty(path_, error);
}

std::string RunDirectory::move_away() const {
  int number = 1;
  while (fs::exists(path_ + "." + std::to_string(number))) ++number;
  const std::string moved = path_ + "." + std::to_string(number);
  std::error_code error;
  fs::rename(path_, moved, error);
  check(!error, ErrorKind::storage, "cannot rename " + path_ + " to " + moved + ":",
        error.message());
  return moved;
}

void RunDirectory::prepare() const {
  std::error_code error;
  fs::create_directories(path_ + "/logs", error);
  check(!error, ErrorKind::storage, "cannot make the run directory " + path_ + ":", error.message(),
        "(choose another with --run-dir)");
  std::string probe = path_ + "/.writable-XXXXXX";  // a name that nobody can have put there
  const int file = ::mkstemp(probe.data());
  check(file >= 0, ErrorKind::storage, "cannot write in the run directory " + path_ + ":",
        std::strerror(errno), "(choose another with --run-dir)");
  ::close(file);
  ::unlink(probe.c_str());
}

int64_t RunDirectory::last_saved_step() const {
  int64_t step = -1;
  std::ifstream in(metrics());
  for (std::string line; std::getline(in, line);) {
    const auto json = nlohmann::json::parse(line, nullptr, false);
    if (json.is_object() && json.value("kind", "") == "checkpoint" && !json.contains("error"))
      step = json.value("step", int64_t{0});
  }
  return step;
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
  write_file(path_ + "/recipe.resolved.yaml", yaml);
}

}  // namespace tessera
