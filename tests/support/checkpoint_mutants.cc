// SPDX-License-Identifier: Apache-2.0
#include "tests/support/checkpoint_mutants.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <utility>

#include <sys/stat.h>

#include "checkpoint/checksum.h"
#include "checkpoint/index.h"
#include "checkpoint/layout.h"
#include "checkpoint/manifest.h"
#include "kernels/base/check.h"

namespace tessera::test {
namespace {

namespace fs = std::filesystem;
using Random = std::mt19937_64;

// The standard's distributions differ between libraries, so numbers are drawn by remainder.
size_t below(Random& random, size_t end) {
  return end == 0 ? 0 : static_cast<size_t>(random() % end);
}

template <typename List>
const auto& one_of(Random& random, const List& list) {
  return *std::next(std::begin(list), static_cast<std::ptrdiff_t>(below(random, std::size(list))));
}

bool is_json(const std::string& file) {
  return file.find(".h5") == std::string::npos;
}

std::string some_file(const Files& files, Random& random) {
  return one_of(random, files).first;
}

std::string some_json(const Files& files, Random& random) {
  for (;;)
    if (const std::string file = some_file(files, random); is_json(file)) return file;
}

std::string random_bytes(size_t count, Random& random) {
  std::string bytes(count, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

std::string with_flipped_bits(std::string bytes, Random& random) {
  for (size_t flips = 1 + below(random, 8); flips > 0; --flips)
    bytes[below(random, bytes.size())] ^= static_cast<char>(1 << below(random, 8));
  return bytes;
}

std::string with_overwritten_run(std::string bytes, Random& random) {
  const size_t at = below(random, bytes.size());
  const size_t length = std::min(bytes.size() - at, 1 + below(random, 256));
  std::string run(length, '\0');
  switch (below(random, 4)) {
    case 0: break;
    case 1: run.assign(length, '\xff'); break;
    case 2: run = random_bytes(length, random); break;
    default: run = bytes.substr(below(random, bytes.size() - length + 1), length); break;
  }
  return bytes.replace(at, length, run);
}

std::string shifted(std::string bytes, Random& random) {
  const size_t at = below(random, bytes.size());
  if (below(random, 2) == 0) return bytes.insert(at, random_bytes(1 + below(random, 64), random));
  return bytes.erase(at, 1 + below(random, 64));
}

std::string truncated(const std::string& bytes, Random& random) {
  return bytes.substr(0, below(random, bytes.size()));
}

std::string extended(const std::string& bytes, Random& random) {
  const size_t more = 1 + below(random, 4096);
  switch (below(random, 3)) {
    case 0: return bytes + std::string(more, '\0');
    case 1: return bytes + random_bytes(more, random);
    default: return bytes + bytes.substr(0, more);
  }
}

Mutant files_swapped(const Files& sound, Random& random) {
  const std::string first = some_file(sound, random), second = some_file(sound, random);
  return {"files swapped",
          {{first, Instead::bytes, sound.at(second)}, {second, Instead::bytes, sound.at(first)}}};
}

// Two runs of equal length change places, in one file or in two.
Mutant runs_swapped(const std::string& kind, const Files& sound, std::string first, size_t at,
                    const std::string& second, size_t there, size_t length) {
  std::string one = sound.at(first), other = sound.at(second);
  const std::string left = one.substr(at, length), right = other.substr(there, length);
  one.replace(at, length, right);
  if (first != second)
    return {kind,
            {{std::move(first), Instead::bytes, one},
             {second, Instead::bytes, other.replace(there, length, left)}}};
  one.replace(there, length, left);
  return {kind, {{std::move(first), Instead::bytes, one}}};
}

Mutant blocks_swapped(const Files& sound, Random& random) {
  const std::string first = some_file(sound, random), second = some_file(sound, random);
  const size_t shorter = std::min(sound.at(first).size(), sound.at(second).size());
  const size_t length = 1 + below(random, std::min<size_t>(shorter / 2, 256));
  return runs_swapped("equal blocks swapped", sound, first,
                      below(random, sound.at(first).size() - length + 1), second,
                      below(random, sound.at(second).size() - length + 1), length);
}

struct PlacedBox {
  std::string file;
  size_t at, bytes;
};

// The bytes of two boxes of equal size change places: each is a box of the right form.
Mutant boxes_swapped(const Files& sound, Random& random) {
  std::vector<PlacedBox> boxes;
  for (const auto& [name, text] : sound) {
    const size_t end = name.find(".index.json");
    if (end == std::string::npos) continue;
    for (const StoredBox& box : parse_index(text, name).boxes)
      boxes.push_back({name.substr(0, end) + ".h5", static_cast<size_t>(box.at),
                       static_cast<size_t>(box.bytes)});
  }
  const PlacedBox first = one_of(random, boxes);
  std::vector<PlacedBox> equal;
  for (const PlacedBox& box : boxes)
    if (box.bytes == first.bytes) equal.push_back(box);
  const PlacedBox second = one_of(random, equal);
  return runs_swapped("equal boxes swapped", sound, first.file, first.at, second.file, second.at,
                      first.bytes);
}

Mutant replaced(const Files& sound, Random& random) {
  constexpr std::pair<Instead, const char*> kAll[] = {
      {Instead::nothing, "deleted"},
      {Instead::directory, "replaced by a directory"},
      {Instead::fifo, "replaced by a FIFO"},
      {Instead::link_to_copy, "replaced by a link to a copy"},
      {Instead::link_to_nowhere, "replaced by a link to nowhere"},
      {Instead::link_to_itself, "replaced by a link to itself"},
      {Instead::bytes, "emptied"}};
  const auto& [instead, kind] = one_of(random, kAll);
  return {kind, {{some_file(sound, random), instead, ""}}};
}

struct Span {
  size_t at, length;
};

// Calls visit(span, is a string) for each number and each string; a string has its quotes.
template <typename Visit>
void each_token(const std::string& text, Visit&& visit) {
  for (size_t at = 0; at < text.size(); ++at) {
    size_t end = at;
    if (text[at] == '"') {
      for (++end; end < text.size() && text[end] != '"'; ++end) end += text[end] == '\\';
      visit(Span{at, std::min(end + 1, text.size()) - at}, true);
      at = end;
    } else if (text[at] == '-' || (text[at] >= '0' && text[at] <= '9')) {
      end = std::min(text.find_first_not_of("+-.0123456789eE", at), text.size());
      visit(Span{at, end - at}, false);
      at = end - 1;
    }
  }
}

std::vector<Span> numbers_in(const std::string& text) {
  std::vector<Span> numbers;
  each_token(text, [&](Span span, bool string) {
    if (!string) numbers.push_back(span);
  });
  return numbers;
}

// Finds members `"key":number`, from the key's quote to the number's end.
std::vector<Span> members_in(const std::string& text) {
  std::vector<Span> members;
  std::optional<Span> key;
  each_token(text, [&](Span span, bool string) {
    if (!string && key && key->at + key->length + 1 == span.at && text[span.at - 1] == ':')
      members.push_back({key->at, span.at + span.length - key->at});
    key = string ? std::optional(span) : std::nullopt;
  });
  return members;
}

std::string strange_number(const std::string& number, Random& random) {
  static const std::string kStrange[] = {"-1",
                                         "0",
                                         "1",
                                         "2",
                                         "7",
                                         "127",
                                         "4096",
                                         "65536",
                                         "1048576",
                                         "268435456",
                                         "536870912",
                                         "1073741824",
                                         "2147483647",
                                         "2147483648",
                                         "4294967295",
                                         "4294967296",
                                         "1099511627776",
                                         "4611686018427387904",
                                         "9223372036854775807",
                                         "9223372036854775808",
                                         "18446744073709551615",
                                         "18446744073709551616",
                                         "-2147483649",
                                         "-9223372036854775808",
                                         "-9223372036854775809",
                                         "340282366920938463463374607431768211456",
                                         "1e9",
                                         "1e18",
                                         "1e308",
                                         "1e309",
                                         "-1e400",
                                         "0.5",
                                         "1.0",
                                         "-0",
                                         "-0.0",
                                         "NaN",
                                         "nan",
                                         "Infinity",
                                         "-Infinity",
                                         "inf",
                                         "007",
                                         "+1",
                                         "0x10",
                                         "1_000",
                                         "1.",
                                         ".5",
                                         "1e",
                                         "--1",
                                         "",
                                         "null",
                                         "true",
                                         "\"1\"",
                                         "[1]",
                                         "{}",
                                         "[]",
                                         "{\"a\":1}"};
  switch (below(random, 8)) {
    case 0: return std::to_string(random() >> below(random, 64));
    case 1: return number + std::to_string(below(random, 10));
    case 2: return "-" + number;
    case 3: return number + "e" + std::to_string(below(random, 400));
    case 4: return std::string(1 + below(random, 10000), static_cast<char>('1' + below(random, 9)));
    default: return one_of(random, kStrange);
  }
}

std::string with_edited_number(std::string text, Random& random) {
  const Span span = one_of(random, numbers_in(text));
  return text.replace(span.at, span.length,
                      strange_number(text.substr(span.at, span.length), random));
}

std::string with_duplicate_key(std::string text, Random& random) {
  const Span span = one_of(random, members_in(text));
  const std::string member = text.substr(span.at, span.length);
  const size_t colon = member.find("\":") + 2;
  const std::string other = member.substr(0, colon) + strange_number(member.substr(colon), random);
  return text.replace(span.at, span.length,
                      below(random, 2) == 0 ? other + "," + member : member + "," + other);
}

std::string with_member_removed(std::string text, Random& random) {
  const Span span = one_of(random, members_in(text));
  const bool comma = span.at + span.length < text.size() && text[span.at + span.length] == ',';
  return text.erase(span.at, span.length + (comma ? 1 : 0));
}

std::string with_deep_nesting(std::string text, Random& random) {
  const Span span = one_of(random, numbers_in(text));
  const size_t depth = 1 + below(random, below(random, 4) == 0 ? 100000 : 20);
  std::string open, close;
  for (size_t i = 0; i < depth; ++i) {
    const bool list = below(random, 2) == 0;
    open += list ? "[" : "{\"a\":";
    close += list ? ']' : '}';
  }
  std::reverse(close.begin(), close.end());
  const std::string number = text.substr(span.at, span.length);
  const std::string nested = open + number + (below(random, 3) == 0 ? "" : close);
  // It is the value itself, or that of a key that nobody knows, which readers are to ignore.
  if (below(random, 2) == 0) return text.replace(span.at, span.length, nested);
  return text.insert(text.find('{') + 1, "\"unknown\":" + nested + ",");
}

std::string with_invalid_utf8(std::string text, Random& random) {
  static const std::string kInvalid[] = {
      "\xff",    "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80",   "\x80", "\xe2\x82",
      "\\ud800", "\\udc00x", "\\u00",        std::string(1, '\0'), "\n",   "\x1b[31m"};
  std::vector<Span> strings;
  each_token(text, [&](Span span, bool string) {
    if (string) strings.push_back(span);
  });
  const Span span = one_of(random, strings);
  const std::string bad = one_of(random, kInvalid);
  // It stands inside a string, or where no string is.
  const size_t at = below(random, 4) == 0 ? span.at : span.at + 1 + below(random, span.length - 1);
  return text.insert(at, bad);
}

using Edit = std::string (*)(std::string, Random&);
constexpr std::pair<Edit, const char*> kEdits[] = {{with_edited_number, "number edited"},
                                                   {with_duplicate_key, "key duplicated"},
                                                   {with_member_removed, "member removed"},
                                                   {with_deep_nesting, "nested deeply"},
                                                   {with_invalid_utf8, "text invalid"}};

// Returns the COMMIT that belongs to a manifest's text, which need not be one.
std::string commit_for(const std::string& manifest_text, const Files& sound) {
  Manifest facts = parse_manifest(sound.at(kManifestName), kManifestName);
  try {
    facts = parse_manifest(manifest_text, kManifestName);
  } catch (const Error&) {
  }
  return commit_text(facts, manifest_text);
}

// The whole chain from an index up is right again, whatever the index says.
Mutant index_sealed(const Files& sound, const std::string& name, const std::string& text) {
  Manifest manifest = parse_manifest(sound.at(kManifestName), kManifestName);
  for (WriterLine& writer : manifest.writers)
    if (index_name(writer.rank) == name) {
      writer.index_bytes = static_cast<int64_t>(text.size());
      writer.index_crc = crc32c(text);
    }
  const std::string manifest_text = to_json(manifest);
  return {"",
          {{name, Instead::bytes, text},
           {kManifestName, Instead::bytes, manifest_text},
           {kCommitName, Instead::bytes, commit_text(manifest, manifest_text)}},
          true};
}

Mutant edited(const Files& sound, Random& random) {
  const auto& [edit, what] = one_of(random, kEdits);
  const std::string file = some_json(sound, random);
  const std::string text = edit(sound.at(file), random);
  // COMMIT has no checksum: it is right to the byte, or it is none.
  const bool seal = file != kCommitName && below(random, 4) > 0;
  Mutant mutant{"", {{file, Instead::bytes, text}}, seal};
  if (seal && file == kManifestName)
    mutant.changes.push_back({kCommitName, Instead::bytes, commit_for(text, sound)});
  else if (seal)
    mutant = index_sealed(sound, file, text);
  mutant.kind = std::string(seal ? "sealed: " : "JSON: ") + what;
  return mutant;
}

void write(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

}  // namespace

bool Mutant::changes_bytes(const Files& sound) const {
  return std::any_of(changes.begin(), changes.end(), [&](const Change& change) {
    if (change.instead == Instead::link_to_copy) return false;
    return change.instead != Instead::bytes || change.bytes != sound.at(change.file);
  });
}

Mutant draw_mutant(const Files& sound, const Files& older, Random& random) {
  const auto of_one = [&](const char* kind, auto&& mutate) -> Mutant {
    const std::string file = some_file(sound, random);
    return {kind, {{file, Instead::bytes, mutate(sound.at(file), random)}}};
  };
  switch (below(random, 16)) {
    case 0: return of_one("bits flipped", with_flipped_bits);
    case 1: return of_one("run overwritten", with_overwritten_run);
    case 2: return of_one("bytes inserted or removed", shifted);
    case 3: return of_one("truncated", truncated);
    case 4: return of_one("extended", extended);
    case 5: return files_swapped(sound, random);
    case 6: return blocks_swapped(sound, random);
    case 7: return boxes_swapped(sound, random);
    case 8: {
      const std::string file = some_file(sound, random);
      return {"file of another step", {{file, Instead::bytes, older.at(file)}}};
    }
    case 9:
    case 10: return replaced(sound, random);
    default: return edited(sound, random);
  }
}

void put(const Mutant& mutant, const Files& sound, const std::string& directory) {
  for (const Change& change : mutant.changes) {
    const fs::path path = fs::path(directory) / change.file;
    // The copy stands outside the step directory, where no checkpoint has a file.
    const fs::path copy = fs::path(directory).parent_path().parent_path() / "copy";
    if (change.instead != Instead::bytes) fs::remove(path);
    switch (change.instead) {
      case Instead::bytes: write(path, change.bytes); break;
      case Instead::nothing: break;
      case Instead::directory: fs::create_directory(path); break;
      case Instead::fifo: check(::mkfifo(path.c_str(), 0600) == 0, "cannot make a FIFO"); break;
      case Instead::link_to_copy:
        write(copy, sound.at(change.file));
        fs::create_symlink(copy, path);
        break;
      case Instead::link_to_nowhere: fs::create_symlink(copy.string() + "-gone", path); break;
      case Instead::link_to_itself: fs::create_symlink(change.file, path); break;
    }
  }
}

void bring_back(const Mutant& mutant, const Files& sound, const std::string& directory) {
  for (const Change& change : mutant.changes) {
    const fs::path path = fs::path(directory) / change.file;
    if (change.instead != Instead::bytes) fs::remove(path);
    write(path, sound.at(change.file));
  }
}

Files read_files(const std::string& directory) {
  Files files;
  for (const auto& entry : fs::directory_iterator(directory)) {
    std::ifstream in(entry.path(), std::ios::binary);
    files[entry.path().filename().string()] = std::string(std::istreambuf_iterator<char>(in), {});
  }
  return files;
}

}  // namespace tessera::test
