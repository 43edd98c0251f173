// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/layout.h"

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

}  // namespace tessera
