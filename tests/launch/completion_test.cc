// SPDX-License-Identifier: Apache-2.0
// The printed script is sourced in a real bash, which then completes words.
#include <algorithm>
#include <sstream>

#include <gtest/gtest.h>

#include "tests/support/program.h"

namespace tessera {
namespace {

using Words = std::vector<std::string>;

// What bash offers for the last word of `words`.
Words completions(const Words& words) {
  std::string list;
  for (const std::string& word : words) list += " '" + word + "'";
  const ProgramResult result =
      run_program({"bash", "-c",
                   "source <(" TESSERA_BINARY " completion bash)\nCOMP_WORDS=(" + list +
                       ")\nCOMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n_tessera\nprintf '%s\\n' "
                       "\"${COMPREPLY[@]}\""});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.err, "");
  std::istringstream out(result.out);
  Words offered;
  for (std::string word; out >> word;) offered.push_back(word);
  std::sort(offered.begin(), offered.end());
  return offered;
}

TEST(Completion, AVerbIsCompleted) {
  EXPECT_EQ(completions({"tessera", "chec"}), Words{"checkpoint"});
  EXPECT_EQ(completions({"tessera", "tr"}), Words{"train"});
}

TEST(Completion, AVerbOfAVerbIsCompleted) {
  EXPECT_EQ(completions({"tessera", "checkpoint", "ver"}), Words{"verify"});
  EXPECT_EQ(completions({"tessera", "data", "in"}), Words{"inspect"});
}

TEST(Completion, FlagsAreThoseOfTheVerb) {
  EXPECT_EQ(completions({"tessera", "train", "recipe.yaml", "--r"}),
            (Words{"--resume", "--run-dir"}));
  EXPECT_EQ(completions({"tessera", "generate", "--temp"}), Words{"--temperature"});
}

TEST(Completion, FilesAreOfferedWhereNoWordFits) {
  EXPECT_EQ(completions({"tessera", "train", "/etc/host"}).front().substr(0, 9), "/etc/host");
}

TEST(Completion, BashKnowsWhichCommandTheScriptIsFor) {
  const ProgramResult result = run_program(
      {"bash", "-c", "source <(" TESSERA_BINARY " completion bash); complete -p tessera"});
  EXPECT_NE(result.out.find("-F _tessera tessera"), std::string::npos) << result.out;
}

TEST(Completion, AnUnknownShellIsAUsageError) {
  EXPECT_EQ(run_program({TESSERA_BINARY, "completion", "tcsh"}).exit_code, 2);
}

}  // namespace
}  // namespace tessera
