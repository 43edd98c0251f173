// SPDX-License-Identifier: Apache-2.0
#include "data/pretokenizer.h"

#include <algorithm>

#include <pcre2.h>

#include "data/utf8.h"
#include "kernels/base/check.h"

namespace tessera {
namespace {

constexpr size_t kLongestPattern = 1 << 16;
constexpr size_t kSmallestJitStack = 32 << 10, kLargestJitStack = 1 << 20;

std::string words_for(int error) {
  PCRE2_UCHAR buffer[256];
  pcre2_get_error_message(error, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

}  // namespace

const char* const kGpt2Regex =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

struct PreTokenizer::Step {
  pcre2_code* code = nullptr;
  Behavior behavior = Behavior::isolated;
  bool invert = false;
  Step() = default;
  Step(const Step&) = delete;
  Step& operator=(const Step&) = delete;
  ~Step() { pcre2_code_free(code); }
};

// What one call of split() needs for itself.
struct PreTokenizer::Scratch {
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(kSmallestJitStack, kLargestJitStack, nullptr);
  std::vector<pcre2_match_data*> matches;  // one for each step

  explicit Scratch(const std::vector<std::shared_ptr<const Step>>& steps) {
    check(context != nullptr && stack != nullptr, ErrorKind::capacity, "out of memory for a regex");
    pcre2_jit_stack_assign(context, nullptr, stack);
    for (const auto& step : steps)
      matches.push_back(pcre2_match_data_create_from_pattern(step->code, nullptr));
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() {
    for (pcre2_match_data* match : matches) pcre2_match_data_free(match);
    pcre2_jit_stack_free(stack);
    pcre2_match_context_free(context);
  }
};

void PreTokenizer::add(const std::string& pattern, bool literal, Behavior behavior, bool invert) {
  check(!pattern.empty() && pattern.size() <= kLongestPattern, ErrorKind::data,
        "a pre-tokenizer pattern has 1 .. 65536 bytes, got", pattern.size());
  const uint32_t options = PCRE2_UTF | (literal ? PCRE2_LITERAL : PCRE2_UCP);
  auto step = std::make_shared<Step>();
  int error = 0;
  PCRE2_SIZE offset = 0;
  step->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), options,
                             &error, &offset, nullptr);
  check(step->code != nullptr, ErrorKind::data, "pre-tokenizer regex", pattern, "at byte", offset,
        "-", words_for(error));
  // Where the system forbids generated code this fails, and matching is interpreted instead.
  pcre2_jit_compile(step->code, PCRE2_JIT_COMPLETE);
  step->behavior = behavior;
  step->invert = invert;
  steps_.push_back(std::move(step));
}

void PreTokenizer::add_regex(const std::string& pattern, Behavior behavior, bool invert) {
  add(pattern, false, behavior, invert);
}

void PreTokenizer::add_literal(const std::string& text, Behavior behavior, bool invert) {
  add(text, true, behavior, invert);
}

bool PreTokenizer::keeps_everything() const {
  return std::none_of(steps_.begin(), steps_.end(),
                      [](const auto& step) { return step->behavior == Behavior::removed; });
}

void PreTokenizer::run(size_t index, std::string_view text, Scratch& scratch,
                       const Sink& sink) const {
  if (text.empty()) return;
  if (index == steps_.size()) return sink(text);
  const Step& step = *steps_[index];
  size_t begin = 0;      // of the piece that is not handed on yet
  bool matched = false;  // contiguous: whether that piece is made of matches
  const auto hand_on = [&](size_t end) {
    run(index + 1, text.substr(begin, end - begin), scratch, sink);
    begin = end;
  };
  const auto part = [&](size_t from, size_t to, bool is_match) {
    if (from == to) return;
    switch (step.behavior) {
      case Behavior::isolated: hand_on(to); break;
      case Behavior::removed:
        if (!is_match) hand_on(to);
        begin = to;
        break;
      case Behavior::contiguous:
        if (is_match != matched && from > begin) hand_on(from);
        matched = is_match;
        break;
      case Behavior::merged_with_previous:  // a second match in a row stands alone
        if (!is_match && from > begin) hand_on(from);
        if (is_match) hand_on(to);
        break;
      case Behavior::merged_with_next:
        if (is_match && from > begin) hand_on(from);
        if (!is_match) hand_on(to);
        break;
    }
  };
  size_t at = 0;
  while (at < text.size()) {
    // The text is known to be UTF-8; an empty match would cut nothing.
    const int found =
        pcre2_match(step.code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), at,
                    PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, scratch.matches[index], scratch.context);
    if (found == PCRE2_ERROR_NOMATCH) break;
    check(found >= 0, ErrorKind::data, "the pre-tokenizer regex failed:", words_for(found));
    const PCRE2_SIZE* match = pcre2_get_ovector_pointer(scratch.matches[index]);
    check(match[0] >= at && match[1] > match[0], ErrorKind::data,
          "the pre-tokenizer regex sets the start of its match (\\K), which is not supported");
    part(at, match[0], step.invert);
    part(match[0], match[1], !step.invert);
    at = match[1];
  }
  part(at, text.size(), step.invert);
  hand_on(text.size());
}

void PreTokenizer::split(std::string_view text, const Sink& sink) const {
  Scratch scratch(steps_);
  while (!text.empty()) {
    const size_t valid = valid_utf8_prefix(text);
    run(0, text.substr(0, valid), scratch, sink);
    size_t end = valid;
    while (end < text.size() && decode_utf8(text.substr(end)).size == 0) ++end;
    if (end > valid) sink(text.substr(valid, end - valid));
    text.remove_prefix(end);
  }
}

}  // namespace tessera
