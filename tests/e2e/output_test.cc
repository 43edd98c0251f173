// SPDX-License-Identifier: Apache-2.0
// Nobody has to read what a run prints.
#include "tests/support/workshop.h"

namespace tessera {
namespace {

const Workshop& workshop() {
  static const Workshop shared;
  return shared;
}

// The exit code of the first command of a pipeline, whose reader takes one line and goes.
int code_of(const std::string& command) {
  const ProgramResult run =
      run_program({"bash", "-c", command + " 2>&1 | head -1 >head.txt; exit ${PIPESTATUS[0]}"},
                  workshop().options(), 120);
  return run.exit_code;
}

TEST(Output, WithoutAReaderEndsNoRun) {
  const std::string train = std::string(TESSERA_BINARY) + " train recipe.yaml run.log_every=1 ";
  EXPECT_EQ(code_of(train + "--run-dir alone"), 0);
  EXPECT_EQ(workshop().last_step("alone"), 20);
  const std::string launch =
      std::string(TESSERA_BINARY) + " launch recipe.yaml -n 2 run.log_every=1 ";
  EXPECT_EQ(code_of(launch + "--run-dir launched"), 0);
  EXPECT_EQ(workshop().last_step("launched"), 20);
}

TEST(Output, OfClosedDescriptorsEndsNoRunAndSpoilsNoFile) {
  const ProgramResult run =
      run_program({"bash", "-c",
                   "exec " + std::string(TESSERA_BINARY) +
                       " train recipe.yaml run.log_every=1 --run-dir closed <&- >&- 2>&-"},
                  workshop().options(), 120);
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_EQ(workshop().tessera({"checkpoint", "verify", "closed"}).exit_code, 0);
}

}  // namespace
}  // namespace tessera
