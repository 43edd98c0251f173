// SPDX-License-Identifier: Apache-2.0
// A checkpoint tells what computed it; going on elsewhere is said where bits may change.
#include "launch/run/made_on.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/run/scalar_lines.h"
#include "tests/support/errors.h"

namespace tessera {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

const MadeOn kHere = {"cpu", "x86-64-v3", "4", "cpu x86-64-v3, 2 threads a rank", "MPI 3", "gcc"};

MadeOn with(std::string MadeOn::*member, const std::string& value) {
  MadeOn made = kHere;
  made.*member = value;
  return made;
}

TEST(MadeOn, StandsInTheScalarsAndComesBack) {
  const auto scalars = scalars_of(kHere);
  EXPECT_EQ(scalars.at("made_with.device"), "cpu");
  EXPECT_EQ(scalars.at("made_with.instruction_set"), "x86-64-v3");
  EXPECT_EQ(scalars_of(made_on(scalars).value()), scalars);
}

TEST(MadeOn, TravelsBetweenRanksInLines) {
  const auto scalars = scalars_of(kHere);
  EXPECT_EQ(from_lines(to_lines(scalars)), scalars);
  EXPECT_EQ(from_lines(""), (std::map<std::string, std::string>{}));
  EXPECT_THAT(test::error_of([] { to_lines({{"a", "1\n2"}}); }), HasSubstr("one line"));
  EXPECT_THAT(test::error_of([] { from_lines("a=1\nb\n"); }), HasSubstr("no NAME=VALUE: 'b'"));
}

TEST(MadeOn, ACheckpointOfAnEarlierVersionDoesNotTell) {
  EXPECT_FALSE(made_on({{"step", "2"}, {"made_with.program", "tessera 0.1.0"}}).has_value());
  EXPECT_THAT(moved(MadeOn{}, kHere), IsEmpty());
}

TEST(MadeOn, KnowsItsOwnProcess) {
  const MadeOn made = made_on(Device{Device::Kind::reference}, 3, "some MPI");
  EXPECT_EQ(made.device, "reference");
  EXPECT_EQ(made.ranks, "3");
  EXPECT_EQ(made.transport, "some MPI");
  EXPECT_THAT(made.instruction_set, StartsWith("x86-64-v"));
}

TEST(MadeOn, OnlyWhatChangesBitsIsSaid) {
  EXPECT_THAT(moved(kHere, kHere), IsEmpty());
  for (const auto member : {&MadeOn::ranks, &MadeOn::hardware, &MadeOn::transport, &MadeOn::build})
    EXPECT_THAT(moved(with(member, "other"), kHere), IsEmpty());
  // A path whose name begins like another's is another path.
  EXPECT_THAT(moved(with(&MadeOn::instruction_set, "x86-64-v3x"), kHere),
              ElementsAre(AllOf(HasSubstr("W012"), HasSubstr("x86-64-v3:"))));
  EXPECT_THAT(moved(with(&MadeOn::device, "cuda"), kHere),
              ElementsAre(HasSubstr("W015 saved on a GPU, resumed on a CPU")));
  EXPECT_THAT(moved(kHere, with(&MadeOn::device, "cuda")),
              ElementsAre(HasSubstr("saved on a CPU, resumed on a GPU")));
  EXPECT_THAT(moved(with(&MadeOn::device, "reference"), kHere),
              ElementsAre(HasSubstr("saved on a reference device")));
}

}  // namespace
}  // namespace tessera
