// SPDX-License-Identifier: Apache-2.0
#include "kernels/base/warning.h"

#include <fstream>
#include <iterator>
#include <set>

#include <gtest/gtest.h>

namespace tessera {
namespace {

TEST(Warnings, EachHasARowAtItsPlaceAndACodeOfItsOwn) {
  std::set<std::string> codes, names;
  for (size_t i = 0; i < warnings().size(); ++i) {
    const WarningRow& row = warnings()[i];
    EXPECT_EQ(static_cast<size_t>(row.warning), i) << row.code;
    EXPECT_TRUE(codes.insert(row.code).second) << row.code;
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
  }
  EXPECT_EQ(coded(Warning::retention_failed, "words"), "W010 words");
  EXPECT_STREQ(code(warnings().back().warning), warnings().back().code);
}

TEST(Warnings, ThePageListsThemAll) {
  std::ifstream in(std::string(TESSERA_SOURCE_DIR) + "/docs/warnings.md");
  const std::string page{std::istreambuf_iterator<char>(in), {}};
  std::string table;
  for (const WarningRow& row : warnings())
    table += std::string("| ") + row.code + " | " + row.name + " | " + row.meaning + " |\n";
  EXPECT_TRUE(page.ends_with("|---|---|---|\n" + table)) << table;
}

}  // namespace
}  // namespace tessera
