// SPDX-License-Identifier: Apache-2.0
// A word that names no verb is told together with the verb that it was probably meant to be; the
// parser says only that one is required.
#pragma once

#include <string>

#include "launch/verb/verb.h"

namespace tessera {

// Returns the message for the first word that should be a verb of `program` and is none; "" where
// there is no such word.
std::string unknown_verb(const Verb& program, int argc, char** argv);

}  // namespace tessera
