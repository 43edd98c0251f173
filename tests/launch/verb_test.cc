// SPDX-License-Identifier: Apache-2.0
// Rows of flags become a command line, and the table of verbs is sound.
#include "launch/verb/verb.h"

#include <set>

#include <gtest/gtest.h>

#include "kernels/base/check.h"
#include "launch/verb/parser.h"
#include "launch/verb/unknown_verb.h"
#include "launch/verb/verbs.h"

namespace tessera {
namespace {

struct Asked {
  std::string file;
  std::vector<std::string> rest;
  int64_t steps = 0;
  bool json = false, shaped = false;
  int loudness = 0;
};

Verb program_for(Asked& asked) {
  const Verb run{
      .name = "run",
      .help = "runs",
      .alias = "r",
      .flags = {{"file", &asked.file, "a file", {}, {.required = true}},
                {"rest", &asked.rest, "more"},
                {"--steps", &asked.steps, "so many", Whole{1, 4096}, {.given = &asked.shaped}},
                {"-q,--quiet", Sets{&asked.loudness, -1}, "less"},
                {"--json", &asked.json, "machine-readable"}},
      .run = [] { return 7; }};
  return {.name = "program", .help = "a program", .verbs = {run}};
}

Parsed parse_words(const Verb& program, std::vector<std::string> words) {
  words.insert(words.begin(), "program");
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  return parse(program, static_cast<int>(argv.size()), argv.data());
}

TEST(Verb, RowsSayWhereValuesGo) {
  Asked asked;
  const Verb program = program_for(asked);
  const Parsed parsed =
      parse_words(program, {"r", "a.yaml", "x=1", "y=2", "--steps", "1Ki", "-q", "--json"});
  ASSERT_NE(parsed.verb, nullptr);
  EXPECT_EQ(parsed.verb->run(), 7);
  EXPECT_FALSE(parsed.exit_code);
  EXPECT_EQ(asked.file, "a.yaml");
  EXPECT_EQ(asked.rest, (std::vector<std::string>{"x=1", "y=2"}));
  EXPECT_EQ(asked.steps, 1024);
  EXPECT_EQ(asked.loudness, -1);
  EXPECT_TRUE(asked.json);
  EXPECT_TRUE(asked.shaped);
}

TEST(Verb, WhatARuleForbidsIsAUsageError) {
  const std::vector<std::vector<std::string>> wrong = {{"run"},
                                                       {"run", "a", "--steps", "0"},
                                                       {"run", "a", "--steps", "8Ki"},
                                                       {"run", "a", "--nothing"},
                                                       {"jump"},
                                                       {}};
  for (const std::vector<std::string>& words : wrong) {
    Asked asked;
    const Verb program = program_for(asked);
    const Parsed parsed = parse_words(program, words);
    EXPECT_EQ(parsed.exit_code, exit_code(ErrorKind::usage));
    EXPECT_FALSE(asked.shaped && asked.steps > 0);
  }
}

std::string unknown(std::vector<std::string> words) {
  words.insert(words.begin(), "tessera");
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  return unknown_verb(program(), static_cast<int>(argv.size()), argv.data());
}

TEST(Verb, AnUnknownOneIsToldWithTheNearest) {
  EXPECT_EQ(unknown({"trian"}), "unknown command `trian`, did you mean `train`?");
  EXPECT_EQ(unknown({"ckpt", "lst"}), "unknown command `lst`, did you mean `list`?");
  EXPECT_EQ(unknown({"xylophone"}), "unknown command `xylophone`; see tessera --help");
  EXPECT_EQ(unknown({"train", "recipe.yaml"}), "");
  EXPECT_EQ(unknown({"--json"}), "");
}

void expect_sound(const Verb& verb) {
  EXPECT_FALSE(verb.help.empty()) << verb.name;
  EXPECT_NE(static_cast<bool>(verb.run), !verb.verbs.empty()) << verb.name;
  std::set<std::string> names;
  for (const Flag& flag : verb.flags) {
    EXPECT_TRUE(names.insert(flag.names).second) << verb.name << " " << flag.names;
    EXPECT_FALSE(flag.help.empty()) << verb.name << " " << flag.names;
  }
  for (const Verb& below : verb.verbs) {
    EXPECT_TRUE(names.insert(below.name).second) << below.name;
    expect_sound(below);
  }
}

TEST(Verb, TheTableIsSound) {
  expect_sound(program());
}

}  // namespace
}  // namespace tessera
