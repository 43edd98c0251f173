// SPDX-License-Identifier: Apache-2.0
// The table of all verbs, and the functions that make them: one a file. Results go to standard
// output, everything else to standard error.
#pragma once

#include "launch/verb/verb.h"

namespace tessera {

Verb train_verb();
Verb launch_verb();
Verb plan_verb();
Verb data_verb();
Verb tokenizer_verb();
Verb checkpoint_verb();
Verb reshard_verb();  // of `checkpoint`, as the next two
Verb export_verb();
Verb import_verb();
Verb recipe_verb();
Verb verify_verb();
Verb eval_verb();
Verb generate_verb();
Verb doctor_verb();
Verb bench_verb();
Verb completion_verb();
Verb version_verb();

// The program itself: the verb above all verbs, which are in the order of --help.
Verb program();

}  // namespace tessera
