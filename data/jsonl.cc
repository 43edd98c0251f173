// SPDX-License-Identifier: Apache-2.0
#include "data/jsonl.h"

#include <simdjson.h>

#include "kernels/base/check.h"

namespace tessera {

struct JsonLine::State {
  std::string key;
  std::string padded;  // simdjson reads up to SIMDJSON_PADDING bytes beyond the line
  simdjson::ondemand::parser parser;
};

JsonLine::JsonLine(const std::string& text_key) : state_(std::make_unique<State>()) {
  state_->key = text_key;
}

JsonLine::~JsonLine() = default;

std::string_view JsonLine::text(std::string_view line, const std::string& where) {
  State& s = *state_;
  s.padded.assign(line);
  s.padded.resize(line.size() + simdjson::SIMDJSON_PADDING, ' ');
  simdjson::ondemand::document document;
  auto error = s.parser.iterate(s.padded.data(), line.size(), s.padded.size()).get(document);
  check(!error, ErrorKind::data, where + ": not JSON:", simdjson::error_message(error));
  simdjson::ondemand::object object;
  error = document.get_object().get(object);
  check(!error, ErrorKind::data,
        where + ": every line must be a JSON object:", simdjson::error_message(error));
  simdjson::ondemand::value value;
  error = object.find_field_unordered(s.key).get(value);
  check(!error, ErrorKind::data, where + ": has no field `" + s.key + "` (--text-key names it):",
        simdjson::error_message(error));
  std::string_view text;
  error = value.get_string().get(text);
  check(!error, ErrorKind::data,
        where + ": the field `" + s.key + "` is no valid string:", simdjson::error_message(error));
  return text;
}

}  // namespace tessera
