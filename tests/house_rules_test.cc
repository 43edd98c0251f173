// SPDX-License-Identifier: Apache-2.0
// The plan of the house, held against every file: rooms look only down the staircase, third-party
// headers have one home, conditional compilation and long files are exceptions. When a rule here
// must change, docs/architecture.md and a decision record change with it.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace {

namespace fs = std::filesystem;

// The staircase: what each room may include besides itself. The model is a room inside a room.
const std::map<std::string, std::set<std::string>> kMayInclude = {
    {"kernels", {}},
    {"parallel", {"kernels"}},
    {"data", {"kernels"}},
    {"checkpoint", {"parallel", "kernels"}},
    {"trainer/model", {"parallel", "kernels"}},
    {"trainer", {"trainer/model", "checkpoint", "data", "parallel", "kernels"}},
    {"launch", {"trainer", "trainer/model", "checkpoint", "data", "parallel", "kernels"}}};

// Third-party headers (a prefix of what stands between < and >) and the only files that may have
// them (a prefix of their path). tests/ may include anything.
const std::multimap<std::string, std::string> kHomes = {
    {"mpi.h", "parallel/world.cc"},
    {"mpi.h", "parallel/transport/mpi_communicator.cc"},
    {"hdf5.h", "checkpoint/h5_file.cc"},
    {"isa-l", "checkpoint/checksum.cc"},
    {"pcre2.h", "data/pretokenizer.cc"},
    {"simdjson.h", "data/jsonl.cc"},
    {"zlib.h", "data/byte_stream.cc"},
    {"zstd.h", "data/byte_stream.cc"},
    {"openssl/", "data/hash.cc"},
    {"lzma.h", "launch/report/xz_size.cc"},
    {"spdlog/", "kernels/base/log.cc"},
    {"CLI/", "launch/verb/parser.cc"},
    {"yaml-cpp/", "launch/recipe/yaml.cc"},
    {"immintrin.h", "kernels/cpu/"},
    {"x86intrin.h", "kernels/cpu/"},
    {"omp.h", "kernels/"},
    {"cuda", "kernels/cuda/"},
    {"cublas", "kernels/cuda/"},
    {"cudnn", "kernels/cuda/"},
    {"cub/", "kernels/cuda/"},
    {"mma.h", "kernels/cuda/"},
    {"nvtx3/", "kernels/cuda/"},
    {"nccl.h", "kernels/cuda/with_nccl.cc"},
    {"nccl.h", "parallel/transport/nccl_communicator.cc"},
    {"nccl.h", "parallel/transport/nccl_lane."},
    {"dlfcn.h", "kernels/cuda_plugin.cc"},
};

constexpr int kLongestFile = 600;
const std::set<std::string> kMayBranch = {"kernels/base/half.h",     // #if defined(__CUDACC__)
                                          "kernels/cuda/arch.cuh"};  // #if __CUDA_ARCH__

// The room of a path from the root: the innermost folder that has a rule of its own.
std::string room_of(const std::string& path) {
  const size_t first = path.find('/'), second = path.find('/', first + 1);
  const std::string inner = path.substr(0, second);
  return kMayInclude.contains(inner) ? inner : path.substr(0, first);
}

struct Source {
  std::string path;  // from the root
  std::vector<std::string> lines;
  std::string room() const { return room_of(path); }
};

std::vector<Source> sources(const std::vector<std::string>& rooms) {
  const fs::path root = TESSERA_SOURCE_DIR;
  std::vector<Source> all;
  for (const std::string& room : rooms)
    for (const auto& entry : fs::recursive_directory_iterator(root / room)) {
      const std::string extension = entry.path().extension().string();
      if (extension != ".h" && extension != ".cc" && extension != ".cu" && extension != ".cuh")
        continue;
      Source source{fs::relative(entry.path(), root).string(), {}};
      std::ifstream in(entry.path());
      for (std::string line; std::getline(in, line);) source.lines.push_back(line);
      all.push_back(std::move(source));
    }
  return all;
}

std::vector<Source> house() {
  return sources({"kernels", "parallel", "data", "checkpoint", "trainer", "launch"});
}

// Asked first, because a regular expression takes a second for the lines of all files.
bool is_directive(const std::string& line) {
  const size_t first = line.find_first_not_of(" \t");
  return first != std::string::npos && line[first] == '#';
}

template <typename Visit>
void for_each_include(const Source& source, char open, Visit visit) {
  const std::regex include(open == '"' ? "^\\s*#\\s*include\\s*\"([^\"]+)\""
                                       : "^\\s*#\\s*include\\s*<([^>]+)>");
  std::smatch match;
  for (const std::string& line : source.lines)
    if (is_directive(line) && std::regex_search(line, match, include)) visit(match[1].str());
}

TEST(HouseRules, NoIncludeClimbsTheStairs) {
  for (const Source& source : house())
    for_each_include(source, '"', [&](const std::string& header) {
      const std::string room = room_of(header);
      const bool allowed = room == source.room() || kMayInclude.at(source.room()).contains(room);
      EXPECT_TRUE(allowed) << source.path << " includes " << header;
    });
}

// The folders of parallel/ include what lies above them all, and never each other.
TEST(HouseRules, FoldersOfParallelDoNotKnowEachOther) {
  const auto folder_of = [](const std::string& path) {
    for (const char* folder : {"parallel/transport/", "parallel/strategy/", "parallel/pipeline/"})
      if (path.starts_with(folder)) return std::string(folder);
    return std::string();
  };
  for (const Source& source : sources({"parallel"})) {
    const std::string own = folder_of(source.path);
    for_each_include(source, '"', [&](const std::string& header) {
      const std::string other = folder_of(header);
      EXPECT_TRUE(own.empty() || other.empty() || own == other)
          << source.path << " includes " << header;
    });
  }
}

TEST(HouseRules, OnlyKernelsSeeBackends) {
  for (const Source& source : house())
    for_each_include(source, '"', [&](const std::string& header) {
      if (source.room() == "kernels") return;
      EXPECT_FALSE(header.starts_with("kernels/cpu/") || header.starts_with("kernels/cuda/"))
          << source.path << " includes " << header;
    });
}

TEST(HouseRules, EveryThirdPartyHeaderHasOneHome) {
  for (const Source& source : house())
    for_each_include(source, '<', [&](const std::string& header) {
      bool known = false, home = false;
      for (const auto& [prefix, place] : kHomes) {
        if (!header.starts_with(prefix)) continue;
        known = true;
        home = home || source.path.starts_with(place);
      }
      EXPECT_TRUE(!known || home) << source.path << " includes <" << header << ">";
    });
}

TEST(HouseRules, TheBuildChoosesFilesNotThePreprocessor) {
  const std::regex condition("^\\s*#\\s*(if|ifdef|ifndef|elif)\\b");
  for (const Source& source : house())
    for (const std::string& line : source.lines) {
      const bool branch = is_directive(line) && std::regex_search(line, condition);
      EXPECT_TRUE(!branch || kMayBranch.contains(source.path)) << source.path << ": " << line;
    }
}

TEST(HouseRules, NoFunctionLikeMacros) {
  const std::regex macro("^\\s*#\\s*define\\s+\\w+\\(");
  for (const Source& source : house())
    for (const std::string& line : source.lines)
      EXPECT_FALSE(is_directive(line) && std::regex_search(line, macro))
          << source.path << ": " << line;
}

TEST(HouseRules, FilesStayShortAndCarryTheirLicence) {
  std::vector<Source> all = house();
  for (Source& source : sources({"tests"})) all.push_back(std::move(source));
  for (const Source& source : all) {
    EXPECT_LE(source.lines.size(), static_cast<size_t>(kLongestFile)) << source.path;
    ASSERT_FALSE(source.lines.empty()) << source.path;
    EXPECT_EQ(source.lines[0], "// SPDX-License-Identifier: Apache-2.0") << source.path;
  }
}

TEST(HouseRules, HeadersUsePragmaOnce) {
  for (const Source& source : house()) {
    if (!source.path.ends_with(".h")) continue;
    EXPECT_NE(std::find(source.lines.begin(), source.lines.end(), "#pragma once"),
              source.lines.end())
        << source.path;
  }
}

// The words of `text`, without commas and what else stands between them.
std::set<std::string> names_in(const std::string& text) {
  std::set<std::string> names;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    word.erase(std::remove(word.begin(), word.end(), ','), word.end());
    names.insert(word);
  }
  return names;
}

// "USES kernels parallel" in a room's CMakeLists.txt, in which trainer/model is called model.
TEST(HouseRules, TheBuildNamesTheSameStaircase) {
  const std::regex uses("\\n  USES ([\\w ]+)");
  for (const auto& [room, may_include] : kMayInclude) {
    std::ifstream in(std::string(TESSERA_SOURCE_DIR) + "/" + room + "/CMakeLists.txt");
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    std::smatch match;
    const bool names_rooms = std::regex_search(text, match, uses);
    std::set<std::string> named = names_in(names_rooms ? match[1].str() : "");
    if (named.erase("model") > 0) named.insert("trainer/model");
    EXPECT_EQ(named, may_include) << room;
  }
}

// The table in docs/architecture.md: "| checkpoint | parallel, kernels | ..."
TEST(HouseRules, TheDocumentedStaircaseIsThisOne) {
  std::ifstream in(std::string(TESSERA_SOURCE_DIR) + "/docs/architecture.md");
  ASSERT_TRUE(in.good());
  std::map<std::string, std::set<std::string>> documented;
  const std::regex row("^\\| `([\\w/]+)/` \\| ([^|]*) \\|");
  std::smatch match;
  for (std::string line; std::getline(in, line);) {
    if (!std::regex_search(line, match, row)) continue;
    std::set<std::string>& rooms = documented[match[1].str()];
    rooms = names_in(match[2].str());
    rooms.erase("nothing");
  }
  EXPECT_EQ(documented, kMayInclude);
}

}  // namespace
