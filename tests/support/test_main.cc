// SPDX-License-Identifier: Apache-2.0
// The main() of every test that needs no MPI.
#include <gtest/gtest.h>

#include "tests/support/chosen_tests.h"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  tessera::test::choose_tests(argc, argv);
  return RUN_ALL_TESTS();
}
