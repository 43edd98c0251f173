// SPDX-License-Identifier: Apache-2.0
// What validate() asks of the sections model, router and mtp: sizes that fit each other, and no key
// that the architecture does not use.
#pragma once

#include "trainer/problems.h"

namespace tessera {

void check_model(const Recipe& recipe, Problems& problems);

}  // namespace tessera
