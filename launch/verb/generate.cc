// SPDX-License-Identifier: Apache-2.0
// `tessera generate`: new text from a checkpoint. Prompt and text go to standard output.
#include <cstdio>

#include "kernels/base/log.h"
#include "launch/open_checkpoint.h"
#include "launch/verb/verbs.h"

namespace tessera {

int generate_verb(const GenerateCommand& command) {
  PosixStorage storage;
  OpenModel open =
      open_model(storage, command.checkpoint, {.allow_changed = command.allow_changed});
  check(open.tokenizer.has_value(), ErrorKind::data,
        "no tokenizer: the recipe of " + open.directory + " names '" +
            open.recipe.recipe.data.tokenizer + "', which is not there");
  std::vector<int32_t> prompt = open.tokenizer->encode(command.prompt);
  if (prompt.empty() && open.tokenizer->end_of_document())
    prompt.push_back(*open.tokenizer->end_of_document());
  const int64_t room = open.model->positions() - static_cast<int64_t>(prompt.size());
  check(room > 0, ErrorKind::usage, "the prompt has", prompt.size(),
        "tokens, the model has positions for", open.model->positions());
  if (command.max_tokens > room)
    log::warn("W040 the model has " + std::to_string(open.model->positions()) +
              " positions: at most " + std::to_string(room) + " new tokens");
  SamplingOptions sampling{.max_tokens = command.max_tokens,
                           .temperature = command.temperature,
                           .top_p = command.top_p,
                           .seed = command.seed,
                           .stop_token = open.tokenizer->end_of_document().value_or(-1)};
  std::fputs(command.prompt.c_str(), stdout);
  const auto show = [&](int32_t token) {
    std::fputs(open.tokenizer->decode({&token, 1}).c_str(), stdout);
    if (command.stream) std::fflush(stdout);
  };
  open.model->generate(prompt, sampling, show);
  std::fputs("\n", stdout);
  return 0;
}

}  // namespace tessera
