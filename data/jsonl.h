// SPDX-License-Identifier: Apache-2.0
// One line of a JSON Lines file. jsonl.cc is the only home of simdjson.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace tessera {

// A parser with its memory, to be used for one line after another. Not thread-safe.
class JsonLine {
 public:
  explicit JsonLine(const std::string& text_key);
  ~JsonLine();
  // The string under text_key, valid until the next call. `where` ("a.jsonl:17") is for messages.
  // The whole line is read: Throws Error{data} unless it is exactly one JSON object, which has the
  // key exactly once, with a string.
  std::string_view text(std::string_view line, const std::string& where);

  // True when the line is exactly one JSON object, whatever it holds.
  bool is_object(std::string_view line);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tessera
