// SPDX-License-Identifier: Apache-2.0
// The World of a test that runs on several ranks; support/rank_main.cc makes it before any test.
#pragma once

#include "parallel/world.h"

namespace tessera::test {

World& world();

}  // namespace tessera::test
