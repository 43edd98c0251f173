// SPDX-License-Identifier: Apache-2.0
// `tessera generate`: new text from a checkpoint. Prompt and text go to standard output.
#include <cstdio>
#include <memory>

#include "kernels/base/log.h"
#include "kernels/base/warning.h"
#include "launch/open_checkpoint.h"
#include "launch/verb/common_flags.h"
#include "launch/verb/verbs.h"

namespace tessera {
namespace {

struct GenerateCommand {
  std::string checkpoint;
  std::string prompt;
  int64_t max_tokens = 200;
  double temperature = 0.8;
  double top_p = 0.95;
  uint64_t seed = 42;
  bool stream = false;
  std::string allow_changed;  // a list of what may differ (run/made_with.h)
};

int run_generate(const GenerateCommand& command) {
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
    log::warn(coded(Warning::prompt_too_long,
                    "the model has " + std::to_string(open.model->positions()) +
                        " positions: at most " + std::to_string(room) + " new tokens"));
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

}  // namespace

Verb generate_verb() {
  const auto c = std::make_shared<GenerateCommand>();
  const FlagTraits shown{.shows_default = true};
  return {.name = "generate",
          .help = "new text from a checkpoint",
          .flags = {model_row(c->checkpoint),
                    {"-p,--prompt", &c->prompt, "the beginning of the text"},
                    {"--max-tokens", &c->max_tokens, "new tokens", Whole{1}, shown},
                    {"--temperature", &c->temperature, "0: always the likeliest", Number{0, 1e6},
                     shown},
                    {"--top-p", &c->top_p, "nucleus sampling", Number{0, 1}, shown},
                    {"--seed", &c->seed, "of the sampling", Whole{0}, shown},
                    {"--stream", &c->stream, "show tokens as they come"},
                    allow_changed_row(c->allow_changed)},
          .run = [c] { return run_generate(*c); }};
}

}  // namespace tessera
