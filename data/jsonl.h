// SPDX-License-Identifier: Apache-2.0
// One line of a JSON Lines file. jsonl.cc is the only home of simdjson.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace tessera {

class JsonLine {
 public:
  explicit JsonLine(const std::string& text_key);
  ~JsonLine();
  // The string under text_key, valid until the next call. `where` ("a.jsonl:17") is for messages.
  // Throws Error{data} if the line is no object with such a string.
  std::string_view text(std::string_view line, const std::string& where);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tessera
