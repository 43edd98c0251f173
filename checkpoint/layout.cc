// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/layout.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <random>

namespace tessera {
namespace {

constexpr std::string_view kStepPrefix = "step-";
constexpr size_t kMostDigits = 18;  // fits in int64_t

std::string padded(int64_t number, size_t width) {
  std::string digits = std::to_string(number);
  if (digits.size() < width) digits.insert(0, width - digits.size(), '0');
  return digits;
}

constexpr size_t kSuffixDigits = 16;

bool takes_prefix(std::string_view& text, std::string_view prefix) {
  if (text.substr(0, prefix.size()) != prefix) return false;
  text.remove_prefix(prefix.size());
  return true;
}

// The text up to the next dot, which is taken away with it.
std::string_view take_word(std::string_view& text) {
  const size_t dot = std::min(text.find('.'), text.size());
  const std::string_view word = text.substr(0, dot);
  text.remove_prefix(std::min(dot + 1, text.size()));
  return word;
}

// A number without sign and leading zeros, below 10^18.
std::optional<int64_t> parse_number(std::string_view digits) {
  if (digits.empty() || digits.size() > kMostDigits) return std::nullopt;
  int64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  if (std::to_string(number) != digits) return std::nullopt;
  return number;
}

bool is_suffix(std::string_view text) {
  return text.size() == kSuffixDigits &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// "rank-0003" of "rank-0003.h5".
bool is_writer(std::string_view word) {
  if (!takes_prefix(word, "rank-")) return false;
  const size_t zeros = std::min(word.find_first_not_of('0'), word.size() - 1);
  const auto number = word.empty() ? std::nullopt : parse_number(word.substr(zeros));
  return number && padded(*number, 4) == word;
}

}  // namespace

std::string step_name(int64_t step) {
  return std::string(kStepPrefix) + padded(step, 8);
}

std::optional<int64_t> parse_step_name(std::string_view name) {
  if (name.substr(0, kStepPrefix.size()) != kStepPrefix) return std::nullopt;
  const std::string_view digits = name.substr(kStepPrefix.size());
  if (digits.empty() || digits.size() > kMostDigits) return std::nullopt;
  int64_t step = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), step);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  // Only the one spelling that step_name() uses: two directories can never be the same step.
  if (step < 0 || step_name(step) != name) return std::nullopt;
  return step;
}

std::string shard_name(int writer) {
  return "rank-" + padded(writer, 4) + ".h5";
}
std::string index_name(int writer) {
  return "rank-" + padded(writer, 4) + ".index.json";
}

std::string unique_suffix() {
  std::random_device random;
  char text[17];
  std::snprintf(text, sizeof text, "%08x%08x", random(), random());
  return text;
}

std::string temporary_name(int64_t step, int64_t generation) {
  return kTemporaryPrefix + step_name(step) + "." +
         (generation > 0 ? std::to_string(generation) + "." : "") + unique_suffix();
}

std::string trash_name(int64_t step) {
  return kTrashPrefix + step_name(step) + "." + unique_suffix();
}

std::optional<Remains> parse_remains(std::string_view name) {
  const bool temporary = takes_prefix(name, kTemporaryPrefix);
  if (!temporary && !takes_prefix(name, kTrashPrefix)) return std::nullopt;
  const std::optional<int64_t> step = parse_step_name(take_word(name));
  if (!step) return std::nullopt;
  Remains remains{*step, 0};
  if (temporary && !is_suffix(name)) {
    const std::optional<int64_t> generation = parse_number(take_word(name));
    if (!generation || *generation == 0) return std::nullopt;
    remains.generation = *generation;
  }
  if (!is_suffix(name)) return std::nullopt;
  return remains;
}

std::optional<int64_t> parse_quarantine_name(std::string_view name) {
  const std::optional<int64_t> step = parse_step_name(take_word(name));
  const std::string_view reason = take_word(name);
  if (!step || reason.empty() ||
      reason.find_first_not_of("abcdefghijklmnopqrstuvwxyz-") != std::string_view::npos)
    return std::nullopt;
  if (!name.empty() && !parse_number(name)) return std::nullopt;
  return step;
}

bool is_checkpoint_file(std::string_view name) {
  if (name == kManifestName || name == kCommitName || name == std::string(kCommitName) + ".tmp")
    return true;
  const std::string_view writer = take_word(name);
  return is_writer(writer) && (name == "h5" || name == "index.json");
}

}  // namespace tessera
