// SPDX-License-Identifier: Apache-2.0
#include "launch/run/directory.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <utility>
#include <vector>

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

// A path without links and dots, as far as it exists.
fs::path real(const std::string& path) {
  std::error_code unreadable;
  fs::path whole = fs::weakly_canonical(fs::absolute(path), unreadable);
  return unreadable ? fs::absolute(path).lexically_normal() : whole;
}

// True when the path leads through the directory, by its name or by where its links end.
bool is_inside(const std::string& path, const std::string& directory) {
  const auto below = [](const fs::path& inner, const fs::path& outer) {
    return std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first ==
           outer.end();
  };
  const auto plain = [](const std::string& text) { return fs::absolute(text).lexically_normal(); };
  return below(real(path), real(directory)) || below(plain(path), plain(directory));
}

}  // namespace

RunDirectory::RunDirectory(const std::string& path)
    : path_(fs::path(path).lexically_normal().string()) {
  while (path_.size() > 1 && path_.back() == '/') path_.pop_back();
}

// A run has at least one of these from its first moment on.
bool RunDirectory::holds_a_run() const {
  std::error_code ignored;
  for (const char* file : {"recipe.resolved.yaml", "metrics.jsonl", "checkpoints"})
    if (fs::exists(path_ + "/" + file, ignored)) return true;
  return false;
}

void RunDirectory::check_place(const Recipe& recipe, bool fresh) const {
  std::error_code ignored;
  fs::path there = fs::absolute(path_);
  while (!fs::exists(there, ignored) && there.has_relative_path()) there = there.parent_path();
  check(fs::is_directory(there, ignored), ErrorKind::storage,
        "cannot make the run directory " + path_ + ":", there.string(),
        "is no directory (choose another with --run-dir)");
  check(::access(there.c_str(), W_OK) == 0, ErrorKind::storage, "cannot write in",
        there.string() + ", where the run directory", path_,
        "is to be (choose another with --run-dir)");
  if (!fresh || !holds_a_run()) return;
  check(!is_inside(".", path_), ErrorKind::usage,
        "--resume none would rename the run directory " + path_ +
            ", but that is the working directory, or above it: name another with --run-dir");
  std::vector<std::pair<const char*, std::string>> files = {
      {"data.train", recipe.data.train},
      {"data.validation", recipe.data.validation},
      {"data.tokenizer", recipe.data.tokenizer}};
  for (const BlendSource& source : recipe.data.blend) files.emplace_back("data.blend", source.path);
  for (const auto& [key, file] : files)
    check(file.empty() || !is_inside(file, path_), ErrorKind::usage,
          "--resume none would rename the run directory " + path_ + " with " + key + " " + file +
              " in it: move the data elsewhere, or name another --run-dir");
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
