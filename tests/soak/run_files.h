// SPDX-License-Identifier: Apache-2.0
// These functions read what a run has left on disk (metrics.jsonl, step directories), without the
// run's own code where that is possible; damage() does to a step directory what bad luck does.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "checkpoint/layout.h"
#include "checkpoint/reader.h"
#include "tests/support/program.h"

namespace tessera::soak {

using Random = std::mt19937_64;

// Returns a number from 0 to end - 1. The standard's distributions differ between libraries.
inline int64_t below(Random& random, int64_t end) {
  return static_cast<int64_t>(random() % static_cast<uint64_t>(end));
}

// LastJob tells what metrics.jsonl says of the job that started last.
struct LastJob {
  size_t at = 0;         // where its first line stands: a new job changes `at` or `from`
  int64_t from = -1;     // the step that it went on from; -1: no job has started
  int64_t reached = -1;  // its last step
  bool same_start(const LastJob& other) const { return at == other.at && from == other.from; }
};

class RunFiles {
 public:
  explicit RunFiles(std::string directory) : directory_(std::move(directory)) {}

  std::string checkpoints() const { return directory_ + "/checkpoints"; }
  std::string step_directory(int64_t step) const { return checkpoints() + "/" + step_name(step); }

  LastJob last_job() const {
    const std::string text = complete_lines();
    LastJob job;
    const size_t start = text.rfind("{\"kind\":\"start\"");
    if (start == std::string::npos) return job;
    job.at = start;
    job.from = job.reached = number_at(text, start);
    const size_t train = text.rfind("{\"kind\":\"train\"");
    if (train != std::string::npos && train > start) job.reached = number_at(text, train);
    return job;
  }
  // Returns the lines that the last job wrote after its first one.
  std::vector<nlohmann::json> lines_of(const LastJob& job) const {
    std::istringstream in(complete_lines().substr(job.at));
    std::vector<nlohmann::json> lines;
    for (std::string line; std::getline(in, line);) lines.push_back(nlohmann::json::parse(line));
    if (!lines.empty()) lines.erase(lines.begin());
    return lines;
  }

  std::set<std::string> names() const {
    std::set<std::string> names;
    std::error_code gone;
    for (const auto& entry : std::filesystem::directory_iterator(checkpoints(), gone))
      names.insert(entry.path().filename().string());
    return names;
  }
  // Returns the steps with COMMIT in order; links and names that are no step's do not count.
  std::vector<int64_t> committed() const {
    std::vector<int64_t> steps;
    for (const std::string& name : names()) {
      const std::filesystem::path path = checkpoints() + "/" + name;
      const std::optional<int64_t> step = parse_step_name(name);
      if (step && !std::filesystem::is_symlink(path) && std::filesystem::exists(path / "COMMIT"))
        steps.push_back(*step);
    }
    std::sort(steps.begin(), steps.end());
    return steps;
  }

 private:
  std::string complete_lines() const {
    std::string text = read_text(directory_ + "/metrics.jsonl");
    text.resize(text.rfind('\n') + 1);
    return text;
  }
  static int64_t number_at(const std::string& text, size_t line) {
    return nlohmann::json::parse(text.substr(line, text.find('\n', line) - line))["step"];
  }

  std::string directory_;
};

// Draws a byte that whoever resumes must find unchanged. HDF5's own bytes are not read then, so in
// a shard file it is one of a tensor.
inline int64_t vital_byte(const std::string& step_directory, const std::string& file, int64_t bytes,
                          Random& random) {
  if (!file.ends_with(".h5")) return below(random, bytes);
  PosixStorage storage;
  const CheckpointReader reader = CheckpointReader::open(storage, step_directory);
  for (const ShardIndex& shard : reader.shards()) {
    if (shard_name(shard.writer) != file || shard.boxes.empty()) continue;
    const StoredBox& box = shard.boxes[static_cast<size_t>(below(random, std::ssize(shard.boxes)))];
    return box.at + below(random, box.bytes);
  }
  return 0;
}

// Damages one file of a sound step directory and says in words what was done.
inline std::string damage(const std::string& step_directory, Random& random) {
  namespace fs = std::filesystem;
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(step_directory))
    files.push_back(entry.path().filename().string());
  std::sort(files.begin(), files.end());
  const std::string file = files[static_cast<size_t>(below(random, std::ssize(files)))];
  const fs::path path = fs::path(step_directory) / file;
  const auto bytes = static_cast<int64_t>(fs::file_size(path));
  switch (below(random, 4)) {
    case 0: {
      const int64_t at = vital_byte(step_directory, file, bytes, random);
      std::fstream stream(path, std::ios::in | std::ios::out | std::ios::binary);
      stream.seekg(at);
      const auto flipped = static_cast<char>(stream.get() ^ (1 << below(random, 8)));
      stream.seekp(at);
      stream.put(flipped);
      return file + " byte " + std::to_string(at) + " flipped";
    }
    case 1: {
      const int64_t left = below(random, bytes);
      fs::resize_file(path, static_cast<uintmax_t>(left));
      return file + " cut to " + std::to_string(left) + " bytes";
    }
    case 2: fs::remove(path); return file + " deleted";
    default: fs::resize_file(path, 0); return file + " emptied";
  }
}

}  // namespace tessera::soak
