// SPDX-License-Identifier: Apache-2.0
#include "data/jsonl.h"

#include <simdjson.h>

#include "kernels/base/check.h"

namespace tessera {

struct JsonLine::State {
  std::string key;
  std::string padded;  // simdjson reads up to SIMDJSON_PADDING bytes beyond the line
  // The parser that builds the whole document: the on-demand one stops where the text is found and
  // never sees what is wrong behind it.
  simdjson::dom::parser parser;

  simdjson::simdjson_result<simdjson::dom::element> parse(std::string_view line) {
    padded.assign(line);
    padded.resize(line.size() + simdjson::SIMDJSON_PADDING, ' ');
    return parser.parse(padded.data(), line.size(), false);
  }
};

JsonLine::JsonLine(const std::string& text_key) : state_(std::make_unique<State>()) {
  state_->key = text_key;
}

JsonLine::~JsonLine() = default;

std::string_view JsonLine::text(std::string_view line, const std::string& where) {
  State& s = *state_;
  simdjson::dom::element document;
  auto error = s.parse(line).get(document);
  check(!error, ErrorKind::data,
        where + ": not JSON, or more than one value on the line:", simdjson::error_message(error));
  simdjson::dom::object object;
  error = document.get_object().get(object);
  check(!error, ErrorKind::data,
        where + ": every line must be a JSON object:", simdjson::error_message(error));
  int found = 0;
  simdjson::dom::element value;
  for (const auto& field : object) {
    if (field.key != s.key) continue;
    value = field.value;
    ++found;
  }
  check(found > 0, ErrorKind::data, where + ": has no field `" + s.key + "` (--text-key names it)");
  check(found == 1, ErrorKind::data,
        where + ": has the field `" + s.key + "` " + std::to_string(found) +
            " times, so which text is meant is not clear; leave one");
  std::string_view text;
  error = value.get_string().get(text);
  check(!error, ErrorKind::data,
        where + ": the field `" + s.key + "` is no valid string:", simdjson::error_message(error));
  return text;
}

bool JsonLine::is_object(std::string_view line) {
  simdjson::dom::element document;
  return !state_->parse(line).get(document) && document.is_object();
}

}  // namespace tessera
