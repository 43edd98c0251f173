// SPDX-License-Identifier: Apache-2.0
// The pages of docs/ list every verb, flag and exit code. (Keys: recipe_test.cc; warnings:
// tests/kernels/warning_test.cc.)
#include <cstdlib>
#include <fstream>
#include <iterator>

#include <gtest/gtest.h>

#include "kernels/base/check.h"
#include "launch/verb/verbs.h"

namespace tessera::test {
namespace {

const std::string kDocs = std::string(TESSERA_SOURCE_DIR) + "/docs/";

std::string page(const std::string& name) {
  std::ifstream in(kDocs + name);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string cell(std::string text) {
  for (size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2)
    text.insert(at, "\\");
  return text;
}

std::string as_markdown(const Verb& verb, const std::string& path) {
  std::string text = "\n## `" + path + "`\n\n" + cell(verb.help) + "\n";
  if (!verb.flags.empty()) text += "\n| flag | meaning |\n|---|---|\n";
  for (const Flag& flag : verb.flags)
    text += "| `" + flag.names + "` | " + cell(flag.help) + " |\n";
  for (const Verb& below : verb.verbs) text += as_markdown(below, path + " " + below.name);
  return text;
}

TEST(Documentation, ListsEveryVerbAndFlag) {
  const std::string wanted =
      "# Verbs and their flags\n\nArguments without dashes are known by their place. `tessera VERB "
      "--help` also tells defaults and limits.\n" +
      as_markdown(program(), "tessera");
  if (std::getenv("TESSERA_WRITE_PAGES") != nullptr) std::ofstream(kDocs + "verbs.md") << wanted;
  EXPECT_TRUE(page("verbs.md") == wanted)
      << "TESSERA_WRITE_PAGES=1 launch_tests --tests launch/documentation_test writes it anew";
}

TEST(Documentation, ListsEveryExitCode) {
  const std::string text = page("exit_codes.md");
  for (int kind = 0; kind <= static_cast<int>(ErrorKind::internal); ++kind) {
    const auto each = static_cast<ErrorKind>(kind);
    const std::string row =
        "| " + std::to_string(exit_code(each)) + " | " + std::string(name(each)) + " | ";
    EXPECT_NE(text.find("\n" + row), std::string::npos) << row;
  }
}

}  // namespace
}  // namespace tessera::test
