// SPDX-License-Identifier: Apache-2.0
// Documents and comments name what there is: every path and every member of a class in them
// exists, and the tour of docs/architecture.md is as long as it says.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace {

namespace fs = std::filesystem;

const fs::path kRoot = TESSERA_SOURCE_DIR;
const std::set<std::string> kFolders = {"kernels", "parallel", "data",  "checkpoint", "trainer",
                                        "launch",  "recipes",  "tests", "docs",       "cmake"};

bool is_source(const fs::path& path) {
  const std::string extension = path.extension();
  return extension == ".h" || extension == ".cc" || extension == ".cu" || extension == ".cuh";
}

// Paths from the root of all files of the project: sources, documents, scripts, recipes.
std::vector<fs::path> project_files() {
  std::vector<fs::path> all;
  for (const auto& entry : fs::directory_iterator(kRoot))
    if (entry.is_regular_file()) all.push_back(fs::relative(entry.path(), kRoot));
  for (const std::string& folder : kFolders)
    for (const auto& entry : fs::recursive_directory_iterator(kRoot / folder))
      if (entry.is_regular_file()) all.push_back(fs::relative(entry.path(), kRoot));
  return all;
}

const std::vector<fs::path>& files() {
  static const std::vector<fs::path> all = project_files();
  return all;
}

// Logs and the change log tell of the past.
bool is_document(const fs::path& path) {
  return path.extension() == ".md" && !path.string().starts_with("docs/log/") &&
         path != "CHANGELOG.md";
}

struct Line {
  fs::path file;
  int number;
  std::string text;  // of a source: the comment alone
};

std::vector<Line> lines_of(bool documents) {
  std::vector<Line> all;
  for (const fs::path& path : files()) {
    if (documents ? !is_document(path) : !is_source(path)) continue;
    std::ifstream in(kRoot / path);
    int number = 0;
    for (std::string line; std::getline(in, line);) {
      ++number;
      const size_t comment = documents ? 0 : line.find("//");
      if (comment != std::string::npos) all.push_back({path, number, line.substr(comment)});
    }
  }
  return all;
}

std::string place(const Line& line) {
  return line.file.string() + ":" + std::to_string(line.number);
}

// A pattern with * stands for any file that fits.
bool some_file_is(const std::string& name) {
  std::string pattern;
  for (const char c : name) pattern += c == '*' ? "[^/]*" : c == '.' ? "\\." : std::string(1, c);
  const std::regex whole("(.*/)?" + pattern + "(\\.\\w+|/.*)?");
  return std::any_of(files().begin(), files().end(),
                     [&](const fs::path& path) { return std::regex_match(path.string(), whole); });
}

// Returns whether the word is meant as a path of the project. `x`, NAME and the like stand for any
// name, and tests have names like kernels/norm_test_on_cuda.
bool is_path(const std::string& word) {
  static const std::regex path("[\\w.*-]+(/[\\w.*-]+)*/?");
  static const std::regex placeholder(
      "(.*[/_])?(x|X|NAME|PREFIX)([_./].*)?|.*_test_on_\\w+|.*@\\d+");
  static const std::regex file("[a-z]\\w*\\.(h|cc|cu|cuh|py|sh|md|cmake)");
  if (!std::regex_match(word, path) || std::regex_match(word, placeholder)) return false;
  const size_t slash = word.find('/');
  return slash == std::string::npos ? std::regex_match(word, file)
                                    : kFolders.contains(word.substr(0, slash));
}

TEST(Docs, EveryPathInADocumentExists) {
  const std::regex quoted("`([^`\\s]+)`");
  int count = 0;
  for (const Line& line : lines_of(true))
    for (std::sregex_iterator at(line.text.begin(), line.text.end(), quoted), end; at != end;
         ++at) {
      std::string word = (*at)[1].str();
      word = word.substr(0, word.find(':'));
      if (!is_path(word) || word == "cudnn_frontend.h") continue;
      while (word.ends_with('/')) word.pop_back();
      ++count;
      EXPECT_TRUE(some_file_is(word)) << place(line) << " names " << word;
    }
  EXPECT_GT(count, 300);
}

TEST(Docs, EveryPathInACommentExists) {
  const std::regex named(
      "(^|[^\\w/.])((?:kernels|parallel|data|checkpoint|trainer|launch|recipes|"
      "tests|docs|cmake)/[\\w/-]+\\.(?:h|cc|cu|cuh|md|py|sh|yaml))\\b");
  int count = 0;
  for (const Line& line : lines_of(false)) {
    if (line.text.find('/', 2) == std::string::npos) continue;
    for (std::sregex_iterator at(line.text.begin(), line.text.end(), named), end; at != end; ++at) {
      ++count;
      EXPECT_TRUE(fs::exists(kRoot / (*at)[2].str())) << place(line) << " names " << (*at)[2].str();
    }
  }
  EXPECT_GT(count, 100);
}

// Each of the two words is an identifier of some source.
TEST(Docs, EveryMemberThatIsNamedExists) {
  std::set<std::string> words;
  for (const fs::path& path : files()) {
    if (!is_source(path)) continue;
    std::ifstream in(kRoot / path);
    for (std::string line; std::getline(in, line);) {
      std::string word;
      for (const char c : line.substr(0, line.find("//")) + " ") {
        if (std::isalnum(static_cast<unsigned char>(c)) || c == '_') {
          word += c;
        } else if (!word.empty()) {
          words.insert(word);
          word.clear();
        }
      }
    }
  }
  const std::regex member("\\b([A-Z]\\w+)::(\\w+)");
  int count = 0;
  for (const bool documents : {true, false})
    for (const Line& line : lines_of(documents)) {
      if (line.text.find("::") == std::string::npos) continue;
      for (std::sregex_iterator at(line.text.begin(), line.text.end(), member), end; at != end;
           ++at) {
        ++count;
        EXPECT_TRUE(words.contains((*at)[1].str()) && words.contains((*at)[2].str()))
            << place(line) << " names " << at->str();
      }
    }
  EXPECT_GT(count, 50);
}

// "## The tour (about 900 lines)", and then a list whose items begin with paths.
TEST(Docs, TheTourIsAsLongAsItSays) {
  std::ifstream in(kRoot / "docs/architecture.md");
  const std::regex heading("## The tour \\(about (\\d+) lines\\)"), path("`([\\w/]+\\.\\w+)`");
  int said = 0, lines = 0;
  std::smatch match;
  for (std::string line; std::getline(in, line);) {
    if (std::regex_match(line, match, heading)) {
      said = std::stoi(match[1].str());
    } else if (said > 0 && line.starts_with("## ")) {
      break;
    } else if (said > 0) {
      for (std::sregex_iterator at(line.begin(), line.end(), path), end; at != end; ++at) {
        std::ifstream source(kRoot / (*at)[1].str());
        EXPECT_TRUE(source.good()) << (*at)[1].str();
        for (std::string text; std::getline(source, text);) ++lines;
      }
    }
  }
  EXPECT_GT(said, 0) << "the tour has no heading that counts it";
  EXPECT_LE(lines, 1000);
  EXPECT_LE(std::abs(lines - said), 50) << "it has " << lines << " lines";
}

}  // namespace
