// SPDX-License-Identifier: Apache-2.0
#include "tests/support/chosen_tests.h"

#include <cstdio>
#include <cstdlib>
#include <string>

#include <fnmatch.h>
#include <gtest/gtest.h>

namespace tessera::test {
namespace {

[[noreturn]] void refuse(const std::string& why) {
  std::fprintf(stderr, "%s (usage: [--tests ROOM/FILE_test] [--gtest_...])\n", why.c_str());
  std::exit(2);
}

// True when one of the patterns between colons matches, which is how GoogleTest reads a half of a
// filter.
bool matches(const std::string& patterns, const std::string& name) {
  for (size_t begin = 0; begin <= patterns.size();) {
    const size_t end = std::min(patterns.find(':', begin), patterns.size());
    if (fnmatch(patterns.substr(begin, end - begin).c_str(), name.c_str(), 0) == 0) return true;
    begin = end + 1;
  }
  return false;
}

bool selected(const std::string& filter, const std::string& name) {
  const size_t minus = filter.find('-');
  if (minus == std::string::npos) return matches(filter, name);
  return (minus == 0 || matches(filter.substr(0, minus), name)) &&
         !matches(filter.substr(minus + 1), name);
}

}  // namespace

void choose_tests(int argc, char** argv) {
  std::string file;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument != "--tests") refuse("unknown argument " + argument);
    if (++i == argc) refuse("--tests names a file, for instance kernels/norm_test");
    file = argv[i];
  }
  if (file.empty()) return;

  const std::string wish = GTEST_FLAG_GET(filter);
  const std::string end = "/tests/" + file + ".cc";
  std::string names;
  bool known = false;
  const auto& all = *testing::UnitTest::GetInstance();
  for (int s = 0; s < all.total_test_suite_count(); ++s) {
    const auto& suite = *all.GetTestSuite(s);
    for (int t = 0; t < suite.total_test_count(); ++t) {
      const auto& test = *suite.GetTestInfo(t);
      if (!std::string(test.file()).ends_with(end)) continue;
      known = true;
      const std::string name = std::string(suite.name()) + "." + test.name();
      if (selected(wish, name)) names += (names.empty() ? "" : ":") + name;
    }
  }
  if (!known) refuse("this program has no test of tests/" + file + ".cc");
  // Nothing is selected by a pattern that no name can match; an empty filter would select all.
  GTEST_FLAG_SET(filter, names.empty() ? std::string("-*") : names);
}

}  // namespace tessera::test
