// SPDX-License-Identifier: Apache-2.0
#include "parallel/pipeline/picture.h"

#include <regex>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parallel/pipeline/communicate.h"
#include "parallel/pipeline/generators.h"

namespace tessera::test {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string drawn(const Plan& plan, const PictureOptions& options = {}) {
  return to_svg(plan, simulate(plan), options);
}

int count(const std::string& text, const std::string& part) {
  int found = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

// Every tag closes the one that was opened last, and all text between them is escaped.
void expect_well_formed(const std::string& svg) {
  std::vector<std::string> open;
  const std::regex tag("<(/?)([a-z]+)((?: [A-Za-z0-9:-]+=\"[^\"<&]*\")*)(/?)>");
  size_t end = 0;
  for (std::sregex_iterator it(svg.begin(), svg.end(), tag), last; it != last; ++it) {
    const std::string between = svg.substr(end, static_cast<size_t>(it->position()) - end);
    EXPECT_EQ(between.find_first_of("<>"), std::string::npos) << between;
    EXPECT_FALSE(std::regex_search(between, std::regex("&(?!(amp|lt|gt);)"))) << between;
    end = static_cast<size_t>(it->position() + it->length());
    if ((*it)[1].length() > 0) {
      ASSERT_FALSE(open.empty()) << it->str();
      EXPECT_EQ(open.back(), (*it)[2].str());
      open.pop_back();
    } else if ((*it)[4].length() == 0) {
      ASSERT_TRUE(!open.empty() || end == static_cast<size_t>(it->length())) << "second root";
      open.push_back((*it)[2].str());
    }
  }
  EXPECT_TRUE(open.empty());
  EXPECT_EQ(svg.substr(end), "\n");
}

TEST(Picture, IsWellFormedForEverySchedule) {
  for (const ScheduleKind& kind : schedule_kinds()) {
    SCOPED_TRACE(kind.name);
    expect_well_formed(drawn(with_messages(make_plan(kind.name, 4, 0, 8)),
                             {.title = "<a> & \"b\"", .messages = true}));
  }
}

TEST(Picture, HasABoxForEveryActionAndSaysWhatEachRankIdlesAndHolds) {
  const std::string svg = drawn(one_f_one_b(2, 3), {.title = "1f1b"});
  for (const char* action : {"F0.2", "B0.0", "W0.1"})
    EXPECT_EQ(count(svg, "<title>" + std::string(action) + "</title>"), 2) << action;
  EXPECT_EQ(count(svg, "</title></rect>"), 2 * 3 * 3);
  EXPECT_THAT(svg, HasSubstr(">1f1b: bubble 18.2 %<"));
  EXPECT_THAT(svg, HasSubstr(">idle 18.2 %, tapes 2<"));
  EXPECT_THAT(svg, HasSubstr(">idle 18.2 %, tapes 1<"));
  EXPECT_THAT(svg, HasSubstr(">F forward<"));
}

TEST(Picture, ShadesChunks) {
  const std::string one = drawn(one_f_one_b(2, 2)), two = drawn(interleaved(2, 2, 2));
  EXPECT_THAT(one, HasSubstr("fill=\"#56b4e9\""));
  EXPECT_THAT(one, Not(HasSubstr("fill=\"#bbe1f6\"")));
  EXPECT_THAT(two, HasSubstr("fill=\"#bbe1f6\""));
  EXPECT_THAT(one, Not(HasSubstr("paler")));
  EXPECT_THAT(two, HasSubstr(">paler: later chunks<"));
}

TEST(Picture, DrawsMessagesWhenAsked) {
  const Plan plan = with_messages(one_f_one_b(2, 3));
  EXPECT_EQ(count(drawn(plan), "<line "), 0);
  EXPECT_EQ(count(drawn(plan, {.title = "", .messages = true}), "<line "), 2 * 3);
}

TEST(Picture, StaysReadableWhereActionsAreTooShortForNumbers) {
  const std::string svg = drawn(gpipe(1, 2000));
  expect_well_formed(svg);
  EXPECT_EQ(count(svg, "</title></rect>"), 6000);
  EXPECT_EQ(count(svg, "text-anchor=\"middle\""), 0);
}

}  // namespace
}  // namespace tessera::test
