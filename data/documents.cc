// SPDX-License-Identifier: Apache-2.0
#include "data/documents.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <set>

#include <glob.h>

#include "data/foreign.h"
#include "kernels/base/check.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;
constexpr size_t kChunk = size_t{1} << 20;
constexpr size_t kLongestFirstLine = size_t{64} << 20;  // looked at to tell JSON Lines
constexpr std::string_view kByteOrderMark("\xef\xbb\xbf");

bool named_json_lines(const std::string& path) {
  std::string lower = path;
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char letter) { return std::tolower(letter); });
  std::string_view name = lower;
  for (const std::string_view packed : {".gz", ".zst", ".zstd"})
    if (name.ends_with(packed)) name.remove_suffix(packed.size());
  return name.ends_with(".jsonl") || name.ends_with(".ndjson");
}

bool is_json_lines(const std::string& path, TextFormat::Kind kind) {
  return kind == TextFormat::Kind::json_lines ||
         (kind == TextFormat::Kind::by_name && named_json_lines(path));
}

bool hidden(const fs::path& path) {
  return path.filename().string().starts_with(".");
}

std::vector<std::string> files_below(const std::string& directory) {
  std::vector<std::string> files;
  auto walk = fs::recursive_directory_iterator(directory);
  for (; walk != fs::recursive_directory_iterator(); ++walk) {
    if (hidden(walk->path()))
      walk.disable_recursion_pending();
    else if (walk->is_regular_file())
      files.push_back(walk->path().string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::vector<std::string> matches_of(const std::string& pattern) {
  if (fs::exists(pattern)) return {pattern};  // a name with [ or * in it
  glob_t found{};
  const int result = ::glob(pattern.c_str(), GLOB_BRACE | GLOB_TILDE, nullptr, &found);
  std::vector<std::string> paths;
  if (result == 0) paths.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  ::globfree(&found);
  return paths;
}

}  // namespace

TextFormat::Kind text_kind_named(const std::string& word) {
  if (word == "auto") return TextFormat::Kind::by_name;
  if (word == "text") return TextFormat::Kind::text;
  check(word == "jsonl", ErrorKind::usage,
        "--format must be auto | text | jsonl, got '" + word + "'");
  return TextFormat::Kind::json_lines;
}

std::vector<std::string> expand_inputs(const std::vector<std::string>& inputs) {
  check(!inputs.empty(), ErrorKind::usage, "no input is named (--input FILE, GLOB or DIRECTORY)");
  std::vector<std::string> files;
  std::set<std::string> seen;
  for (const std::string& input : inputs) {
    bool matched = false;
    for (const std::string& path : matches_of(input)) {
      const auto below = fs::is_directory(path) ? files_below(path) : std::vector{path};
      for (const std::string& file : below) {
        matched = true;
        if (seen.insert(fs::weakly_canonical(file).string()).second) files.push_back(file);
      }
    }
    check(matched, ErrorKind::data, "no file matches", input);
  }
  return files;
}

DocumentReader::DocumentReader(const std::string& path, const TextFormat& format)
    : path_(path),
      format_(format),
      json_lines_(is_json_lines(path, format.kind)),
      stream_(path),
      json_(format.text_key) {
  look_at_head();
}

// A NUL means UTF-16 without a mark, or a binary file. JSON's own parser refuses it in a line.
void DocumentReader::refuse_nul(size_t from) const {
  if (json_lines_ || format_.kind == TextFormat::Kind::text) return;
  check(buffer_.find('\0', from) == std::string::npos, ErrorKind::data,
        path_ +
            " is no text: it has NUL bytes. Text in UTF-16: iconv -f UTF-16 -t UTF-8; binary "
            "data that are meant: --format text");
}

// Appends what the stream gives next.
void DocumentReader::fill() {
  const size_t old = buffer_.size();
  buffer_.resize(old + kChunk);
  const size_t got = stream_.read(buffer_.data() + old, kChunk);
  buffer_.resize(old + got);
  at_end_ = got == 0;
  refuse_nul(old);
}

// Refuses what is no text, and what may be JSON Lines under another name.
void DocumentReader::look_at_head() {
  // The first bytes are looked at before NULs are: a format's name says more than that.
  while (buffer_.size() < kForeignHead && !at_end_) {
    const size_t old = buffer_.size();
    buffer_.resize(kForeignHead);
    const size_t got = stream_.read(buffer_.data() + old, kForeignHead - old);
    buffer_.resize(old + got);
    at_end_ = got == 0;
  }
  const std::string foreign = foreign_format(buffer_);
  check(foreign.empty(), ErrorKind::data, path_ + " is " + foreign);
  if (buffer_.starts_with(kByteOrderMark)) begin_ = kByteOrderMark.size();
  if (json_lines_ || format_.kind == TextFormat::Kind::text) return;
  refuse_nul(0);
  const size_t first = buffer_.find_first_not_of(" \t\r\n", begin_);
  if (first == std::string::npos || buffer_[first] != '{') return;
  while (buffer_.find('\n', first) == std::string::npos && !at_end_ &&
         buffer_.size() < kLongestFirstLine)
    fill();
  const std::string_view line =
      std::string_view(buffer_).substr(first, buffer_.find('\n', first) - first);
  check(!json_.is_object(line), ErrorKind::data,
        path_ +
            " is not named .jsonl, but its first line is a JSON object: say --format jsonl if "
            "each line is a document, --format text if the file is text");
}

// The bytes up to the next separator ("": up to the end); false when nothing is left.
bool DocumentReader::next_part(std::string_view separator, std::string& part) {
  size_t searched = begin_;
  while (true) {
    const size_t found = separator.empty() ? std::string::npos : buffer_.find(separator, searched);
    if (found != std::string::npos) {
      part.assign(buffer_, begin_, found - begin_);
      begin_ = found + separator.size();
      return true;
    }
    if (at_end_) {
      part.assign(buffer_, begin_);
      const bool any = begin_ < buffer_.size();
      begin_ = buffer_.size();
      return any;
    }
    // Search again only what may hold the beginning of a separator.
    searched = std::max(begin_, buffer_.size() - std::min(buffer_.size(), separator.size()));
    searched -= begin_;
    buffer_.erase(0, begin_);
    begin_ = 0;
    fill();
  }
}

bool DocumentReader::next(std::string& document) {
  if (!json_lines_) {
    while (next_part(format_.document_separator, document))
      if (!document.empty()) return true;
    return false;
  }
  std::string line;
  while (next_part("\n", line)) {
    ++line_;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    document = json_.text(line, path_ + ":" + std::to_string(line_));
    if (!document.empty()) return true;
  }
  return false;
}

}  // namespace tessera
