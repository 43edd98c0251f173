// SPDX-License-Identifier: Apache-2.0
#include "launch/recipe/scalar.h"

#include <cfloat>
#include <functional>

#include <gtest/gtest.h>

namespace tessera {
namespace {

std::string refusal(const std::function<void()>& parse) {
  try {
    parse();
  } catch (const ScalarError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Scalar, WholeNumbersMayHaveUnderscoresExponentsAndPrefixes) {
  EXPECT_EQ(parse_integer("150"), 150);
  EXPECT_EQ(parse_integer("1_000"), 1000);
  EXPECT_EQ(parse_integer("1e3"), 1000);
  EXPECT_EQ(parse_integer("64Ki"), 65536);
  EXPECT_EQ(parse_integer("2M"), 2'000'000);
  EXPECT_EQ(parse_integer("1.5B"), 1'500'000'000);
  EXPECT_EQ(parse_integer("-3"), -3);
}

TEST(Scalar, AFractionOfAUnitIsTheWholeNumberThatItSays) {
  EXPECT_EQ(parse_integer("1.003K"), 1003);
  EXPECT_EQ(parse_integer("14.633T"), 14'633'000'000'000);
  for (int64_t thousandths = 1; thousandths < 20000; ++thousandths) {
    const std::string digits = std::to_string(1000 + thousandths % 1000).substr(1);
    const std::string text = std::to_string(thousandths / 1000) + "." + digits;
    ASSERT_EQ(parse_integer(text + "K"), thousandths) << text;
    ASSERT_EQ(parse_integer(text + "T"), thousandths * 1'000'000'000) << text;
  }
  EXPECT_NE(refusal([] { parse_integer("1.0005K"); }), "");
  EXPECT_NE(refusal([] { parse_integer("1.0000000000001T"); }), "");
}

TEST(Scalar, WhatIsNoWholeNumberIsRefusedWithTheReason) {
  for (const char* text :
       {"", "abc", "1.5", "1__", "_1", "0x10", "1e30", "nan", "inf", "3 4", "1k"})
    EXPECT_EQ(refusal([&] { parse_integer(text); }),
              "wants a whole number, got \"" + std::string(text) + "\"");
}

TEST(Scalar, TheLetterOIsSuspectedOnlyWhereAZeroWouldDo) {
  EXPECT_EQ(refusal([] { parse_integer("3oo"); }), "wants a whole number, got \"3oo\" (letter o?)");
  EXPECT_EQ(refusal([] { parse_integer("1O0"); }), "wants a whole number, got \"1O0\" (letter o?)");
  EXPECT_EQ(refusal([] { parse_integer("auto"); }), "wants a whole number, got \"auto\"");
}

TEST(Scalar, NumbersAreFiniteAndWhole) {
  EXPECT_EQ(parse_number("1e-3"), 1e-3);
  EXPECT_EQ(parse_number("0.1"), 0.1);
  EXPECT_EQ(refusal([] { parse_number("1e-3x"); }), "wants a number, got \"1e-3x\"");
  EXPECT_EQ(refusal([] { parse_number("1e999"); }), "wants a number, got \"1e999\"");
  EXPECT_EQ(refusal([] { parse_number("nan"); }), "wants a number, got \"nan\"");
}

TEST(Scalar, OnlyTrueAndFalseAreBooleans) {
  EXPECT_TRUE(parse_bool("true"));
  EXPECT_FALSE(parse_bool("false"));
  for (const char* text : {"yes", "no", "on", "True", "1", ""})
    EXPECT_EQ(refusal([&] { parse_bool(text); }),
              "wants true or false, got \"" + std::string(text) + "\"");
}

TEST(Scalar, DurationsNeedAUnitAndMIsNone) {
  EXPECT_EQ(parse_duration("30s"), 30);
  EXPECT_EQ(parse_duration("10min"), 600);
  EXPECT_EQ(parse_duration("1.5h"), 5400);
  EXPECT_EQ(parse_duration("1d"), 86400);
  EXPECT_EQ(refusal([] { parse_duration("30m"); }), "`30m`: use 30min (m is ambiguous)");
  EXPECT_EQ(refusal([] { parse_duration("30"); }),
            "wants a duration like 30s, 10min or 2h, got \"30\"");
  EXPECT_EQ(refusal([] { parse_duration("-3s"); }),
            "wants a duration like 30s, 10min or 2h, got \"-3s\"");
}

TEST(Scalar, AFormattedNumberReadsBackAsTheSameDouble) {
  for (const double value : {0.1, 1e-3, 1.0 / 3, 10000.0, DBL_MIN, DBL_MAX, -0.006, 5e-324})
    EXPECT_EQ(parse_number(format_number(value)), value) << format_number(value);
  EXPECT_EQ(format_number(0.1), "0.1");
}

TEST(Scalar, EditDistanceCountsASwapOfNeighboursAsOne) {
  EXPECT_EQ(edit_distance("train", "train"), 0);
  EXPECT_EQ(edit_distance("trian", "train"), 1);
  EXPECT_EQ(edit_distance("", "abc"), 3);
  EXPECT_EQ(edit_distance("warmup_step", "warmup_steps"), 1);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
}

}  // namespace
}  // namespace tessera
