// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/manifest.h"

#include <nlohmann/json.hpp>

#include "checkpoint/checksum.h"
#include "checkpoint/json.h"
#include "checkpoint/layout.h"
#include "kernels/base/check.h"

namespace tessera {
namespace {

using nlohmann::json;

constexpr const char* kFormatName = "tessera-checkpoint";
constexpr int64_t kMostWriters = 1 << 24;

// One line of the recipe a line of the file: a person may want to read it there.
std::string recipe_lines(const std::string& recipe) {
  std::string text = "[";
  size_t start = 0;
  for (bool more = true; more;) {
    const size_t end = recipe.find('\n', start);
    more = end != std::string::npos;
    const std::string line = recipe.substr(start, more ? end - start : std::string::npos);
    // A byte that is not UTF-8 (a comment, say) must not cost the checkpoint.
    text += (start ? ",\n  " : "\n  ") +
            json(line).dump(-1, ' ', false, json::error_handler_t::replace);
    start = end + 1;
  }
  return text + "\n ]";
}

ManifestHead parse_head(const json& root, const std::string& where) {
  check(text_member(root, "format", where) == kFormatName, ErrorKind::checkpoint,
        where + ": is damaged: not a checkpoint's manifest");
  ManifestHead head;
  head.version = integer_member(root, "version", 1, INT32_MAX, where);
  if (root.contains("generation")) {
    head.generation = integer_member(root, "generation", 1, INT64_MAX, where);
    head.base = integer_member(root, "base", -1, INT64_MAX, where);
  }
  return head;
}

std::string parse_recipe(const json& root, const std::string& where) {
  const json& lines = member(root, "recipe", where);
  check(lines.is_array(), ErrorKind::checkpoint, where + ": `recipe` must be a list of lines");
  std::string recipe;
  for (size_t i = 0; i < lines.size(); ++i) {
    check(lines[i].is_string(), ErrorKind::checkpoint, where + ": `recipe` must hold strings");
    recipe += (i ? "\n" : "") + lines[i].get<std::string>();
  }
  return recipe;
}

std::vector<WriterLine> parse_writers(const json& root, const std::string& where) {
  const json& lines = member(root, "writers", where);
  check(lines.is_array(), ErrorKind::checkpoint, where + ": `writers` must be a list");
  std::vector<WriterLine> writers;
  int64_t total = 0;
  for (const json& line : lines) {
    WriterLine writer;
    writer.rank = static_cast<int>(integer_member(line, "rank", 0, kMostWriters, where));
    writer.shard_bytes = integer_member(line, "shard_bytes", 0, INT64_MAX - total, where);
    total += writer.shard_bytes;
    writer.index_bytes = integer_member(line, "index_bytes", 0, INT64_MAX, where);
    writer.index_crc = crc_member(line, "index_crc32c", where);
    writer.num_tensors = integer_member(line, "tensors", 0, INT64_MAX, where);
    check(writers.empty() || writers.back().rank < writer.rank, ErrorKind::checkpoint,
          where + ": writers must stand in order; out of order is rank", writer.rank);
    writers.push_back(writer);
  }
  return writers;
}

}  // namespace

int64_t Manifest::bytes() const {
  int64_t total = 0;
  for (const WriterLine& writer : writers) total += writer.shard_bytes;
  return total;
}

std::string to_json(const Manifest& manifest) {
  std::string text =
      "{\"format\":" + quoted(kFormatName) + ",\n \"version\":" + std::to_string(manifest.version) +
      ",\n \"run_id\":" + quoted(manifest.run_id) +
      ",\n \"step\":" + std::to_string(manifest.step) +
      (manifest.generation > 0 ? ",\n \"generation\":" + std::to_string(manifest.generation) +
                                     ",\n \"base\":" + std::to_string(manifest.base)
                               : "") +
      ",\n \"layout\":" + quoted(manifest.layout) + ",\n \"scalars\":{";
  bool first = true;
  for (const auto& [key, value] : manifest.scalars) {
    text += (first ? "\n  " : ",\n  ") + quoted(key) + ":" + quoted(value);
    first = false;
  }
  text += "},\n \"recipe\":" + recipe_lines(manifest.recipe) + ",\n \"writers\":[";
  first = true;
  for (const WriterLine& writer : manifest.writers) {
    text += (first ? "\n  " : ",\n  ") + std::string("{\"rank\":") + std::to_string(writer.rank) +
            ",\"shard_bytes\":" + std::to_string(writer.shard_bytes) +
            ",\"index_bytes\":" + std::to_string(writer.index_bytes) + ",\"index_crc32c\":\"" +
            hex(writer.index_crc) + "\",\"tensors\":" + std::to_string(writer.num_tensors) + "}";
    first = false;
  }
  return text + "]}\n";
}

ManifestHead parse_head(const std::string& manifest_text, const std::string& where) {
  return parse_head(parse_json(manifest_text, where), where);
}

Manifest parse_manifest(const std::string& text, const std::string& where) {
  const json root = parse_json(text, where);
  Manifest manifest;
  const ManifestHead head = parse_head(root, where);
  manifest.version = static_cast<int>(head.version);
  check(manifest.version <= kFormatVersion, ErrorKind::checkpoint, where + ": is of format",
        manifest.version, "but this Tessera reads formats up to", kFormatVersion,
        "- use a newer Tessera");
  manifest.run_id = text_member(root, "run_id", where);
  manifest.step = integer_member(root, "step", 0, INT64_MAX, where);
  manifest.generation = head.generation;
  manifest.base = head.base;
  manifest.layout = text_member(root, "layout", where);
  const json& scalars = member(root, "scalars", where);
  check(scalars.is_object(), ErrorKind::checkpoint, where + ": `scalars` must be an object");
  for (const auto& [key, value] : scalars.items()) {
    check(value.is_string(), ErrorKind::checkpoint, where + ": `scalars` must hold strings");
    manifest.scalars[key] = value.get<std::string>();
  }
  manifest.recipe = parse_recipe(root, where);
  manifest.writers = parse_writers(root, where);
  return manifest;
}

std::string commit_text(const Manifest& manifest, const std::string& manifest_text) {
  return "{\"format\":\"tessera-commit\",\"version\":" + std::to_string(manifest.version) +
         ",\"run_id\":" + quoted(manifest.run_id) + ",\"step\":" + std::to_string(manifest.step) +
         (manifest.generation > 0 ? ",\"generation\":" + std::to_string(manifest.generation)
                                  : std::string()) +
         ",\"manifest_bytes\":" + std::to_string(manifest_text.size()) + ",\"manifest_crc32c\":\"" +
         hex(crc32c(manifest_text)) + "\"}\n";
}

}  // namespace tessera
