// SPDX-License-Identifier: Apache-2.0
// The main() of every test that runs under mpirun. Rank 0 prints; another rank says only what
// failed on it. A failure on any rank fails all of them, and a rank that waits for one which left a
// test early ends the job instead of waiting until the test's time is up.
#include <iostream>
#include <string>

#include <gtest/gtest.h>

#include "kernels/base/check.h"
#include "tests/support/chosen_tests.h"
#include "tests/support/rank_world.h"

namespace tessera::test {
namespace {

constexpr double kHangSeconds = 300;
World* the_world = nullptr;

class FailurePrinter : public testing::EmptyTestEventListener {
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    // An exception has no place in the source.
    const std::string place = result.file_name() ? result.file_name() : "outside any expectation";
    std::cerr << "rank " << world().rank() << ": " << place << ":" << result.line_number() << ": "
              << result.message() << std::endl;
  }
};

}  // namespace

World& world() {
  check(the_world != nullptr, "this test was linked without support/rank_main.cc");
  return *the_world;
}

}  // namespace tessera::test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  tessera::test::choose_tests(argc, argv);
  tessera::World world;
  tessera::test::the_world = &world;
  tessera::set_hang_timeout(tessera::test::kHangSeconds);
  if (world.rank() != 0) {
    auto& listeners = testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new tessera::test::FailurePrinter);
  }
  const bool good = RUN_ALL_TESTS() == 0;
  return world.all().agree(good, "test result") ? 0 : 1;
}
