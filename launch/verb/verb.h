// SPDX-License-Identifier: Apache-2.0
// A verb of the command line as data: its name, the rows of its flags, and what it runs. A verb's
// file returns one, verbs.h lists them, parser.cc turns the rows into a parser, completion.cc into
// scripts for shells.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace tessera {

// A flag without a value that puts `value` into *where.
struct Sets {
  int* where;
  int value;
};

// The place that a flag's value is written to; its type decides how text is read. A bool is set by
// a flag without a value; a vector takes several values.
using FlagTarget =
    std::variant<bool*, Sets, int*, std::optional<int>*, int64_t*, uint64_t*, double*, std::string*,
                 std::vector<std::string>*, std::vector<double>*>;

// A rule about the value of a flag. Whole: a whole number as recipes write it (1e3, 64Ki, 1K).
struct Whole {
  int64_t least = 0;
  int64_t most = std::numeric_limits<int64_t>::max();
};
// Between: plain digits only; the help shows the limits.
struct Between {
  int64_t least, most;
};
struct Number {
  double least, most;
};
struct OneOf {
  std::vector<std::string> words;
};
struct ExistingFile {};
struct ExistingDirectory {};
// Accepts: returns the complaint about a text, "" where there is none.
struct Accepts {
  std::function<std::string(const std::string&)> complaint;
};
using FlagRule = std::variant<std::monostate, Whole, Between, Number, OneOf, ExistingFile,
                              ExistingDirectory, Accepts>;

struct FlagTraits {
  bool required = false;
  bool shows_default = false;  // the help tells the value that *target has before parsing
  char separator = '\0';       // between the values of one text; '\0': none
  const char* needs = "";      // another flag without which this one is refused
  bool* given = nullptr;       // set to true when the flag is on the command line
};

struct Flag {
  std::string names;  // "-n,--ranks"; without dashes: an argument that is known by its place
  FlagTarget target;
  std::string help;
  FlagRule rule{};
  FlagTraits traits{};
};

struct Verb {
  std::string name;
  std::string help;
  std::string alias{};
  std::vector<Flag> flags{};
  std::vector<Verb> verbs{};        // of a verb like `data`, which runs nothing itself
  std::function<int()> run{};       // returns the exit code
  bool holds_stop_signals = false;  // SIGTERM and its like wait for the verb to ask (job/signals.h)
};

}  // namespace tessera
