// SPDX-License-Identifier: Apache-2.0
// A recipe file as a tree of our own: maps, lists and scalars with the place each came from. Knows
// no keys; yaml.h makes it, reader.h understands it.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace tessera {

struct TextPlace {
  std::string file;  // "command line" for overrides
  int line = 0;      // from 1; 0: no place
  int column = 0;    // from 1
};

struct RecipeNode {
  enum class Kind { scalar, list, map };
  Kind kind = Kind::scalar;
  std::string text;     // of a scalar
  bool quoted = false;  // "3" in quotes is text, not a number
  TextPlace place;
  std::vector<RecipeNode> items;  // of a list
  struct Entry;
  std::vector<Entry> entries;  // of a map, in the order of the file
};

struct RecipeNode::Entry {
  std::string key;
  TextPlace key_place;
  RecipeNode value;
};

// One thing wrong with a recipe file.
struct RecipeError {
  TextPlace place;
  int width = 1;        // characters to underline
  std::string message;  // "unknown key `warmup_step` in `lr_schedule`"
  std::string hint;     // "did you mean `warmup_steps`?"
  int exit_code = 2;
};

// "FILE:LINE:COL: message", the source line, a caret and the hint. `source` is the file's text.
std::string render(const RecipeError& error, const std::string& source);

}  // namespace tessera
