// SPDX-License-Identifier: Apache-2.0
#include "parallel/pipeline/executor.h"

#include <gtest/gtest.h>

namespace tessera::test {
namespace {

class Recorder : public PipelineStage {
 public:
  void forward(int chunk, int micro) override { note("F", chunk, micro); }
  void backward_input(int chunk, int micro) override { note("B", chunk, micro); }
  void backward_weight(int chunk, int micro) override { note("W", chunk, micro); }
  void backward(int chunk, int micro) override { note("BW", chunk, micro); }
  std::string calls;

 private:
  void note(const char* call, int chunk, int micro) {
    calls += (calls.empty() ? "" : " ") + std::string(call) + std::to_string(chunk) + "." +
             std::to_string(micro);
  }
};

std::string calls_of(const std::string& schedule) {
  Recorder stage;
  run(parse_schedule(schedule), stage);
  return stage.calls;
}

TEST(Executor, RunsTheActionsInOrder) {
  EXPECT_EQ(calls_of("F0.0 F1.0 F0.1 B1.0 B0.0 W1.0 W0.0"), "F0.0 F1.0 F0.1 B1.0 B0.0 W1.0 W0.0");
  EXPECT_EQ(calls_of(""), "");
}

TEST(Executor, FusesBothHalvesWhereTheyStandSideBySide) {
  EXPECT_EQ(calls_of("F0.0 B0.0 W0.0 F0.1 B0.1 W0.1"), "F0.0 BW0.0 F0.1 BW0.1");
  EXPECT_EQ(calls_of("B0.1 W0.0 W0.1"), "B0.1 W0.0 W0.1") << "another microbatch's W";
  EXPECT_EQ(calls_of("B0.0 W1.0 W0.0"), "B0.0 W1.0 W0.0") << "another chunk's W";
  EXPECT_EQ(calls_of("B0.0"), "B0.0") << "nothing follows";
}

}  // namespace
}  // namespace tessera::test
