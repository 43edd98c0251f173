// SPDX-License-Identifier: Apache-2.0
// Selects the tests of one source file in a program that holds those of a whole room.
#pragma once

namespace tessera::test {

// Handles `--tests kernels/norm_test`, which stands for the tests that tests/kernels/norm_test.cc
// defines: narrows --gtest_filter to those of them that it selects. To be called after
// InitGoogleTest and before RUN_ALL_TESTS. Ends the process with exit code 2 when an argument is
// left that nobody knows, or when the file has no test in this program: a misspelt name must not
// pass as zero tests without a failure.
void choose_tests(int argc, char** argv);

}  // namespace tessera::test
