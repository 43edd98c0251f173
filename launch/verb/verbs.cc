// SPDX-License-Identifier: Apache-2.0
#include "launch/verb/verbs.h"

namespace tessera {

Verb program() {
  return {.name = "tessera",
          .help = "Distributed training of DeepSeek-style language models",
          .verbs = {train_verb(), launch_verb(), plan_verb(), data_verb(), tokenizer_verb(),
                    checkpoint_verb(), recipe_verb(), verify_verb(), eval_verb(), generate_verb(),
                    doctor_verb(), bench_verb(), completion_verb(), version_verb()}};
}

}  // namespace tessera
