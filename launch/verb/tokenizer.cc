// SPDX-License-Identifier: Apache-2.0
// `tessera tokenizer train|encode|decode`.
#include "data/tokenizer.h"

#include <cstdio>
#include <iostream>
#include <iterator>
#include <memory>
#include <sstream>

#include "data/bpe_trainer.h"
#include "data/documents.h"
#include "kernels/base/log.h"
#include "launch/report/progress.h"
#include "launch/verb/verbs.h"

namespace tessera {
namespace {

struct TokenizerCommand {
  std::string tokenizer;
  std::vector<std::string> inputs;
  int64_t vocab_size = 0;
  std::string output;
  std::string text;  // to encode; "" = standard input
};

std::string read_all(std::istream& in) {
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

// The documents of a file one after another, as `data prepare` would read them.
std::string read_text(const std::string& path) {
  DocumentReader reader(path, {});
  std::string text;
  for (std::string document; reader.next(document);) text += document;
  return text;
}

int train(const TokenizerCommand& command) {
  std::string text;
  for (const std::string& input : command.inputs) text += read_text(input);
  constexpr int64_t kParts = 1000;
  ProgressLine line("tokenizer", kParts);
  BpeOptions options;
  options.vocab_size = command.vocab_size;
  options.progress = [&](double fraction) { line.at(static_cast<int64_t>(fraction * kParts)); };
  const Tokenizer tokenizer = train_bpe(text, options);
  line.finish();
  tokenizer.save(command.output);
  log::info(command.output + ": " + std::to_string(tokenizer.vocab_size()) + " tokens, " +
            tokenizer.hash());
  return 0;
}

int encode(const TokenizerCommand& command) {
  const Tokenizer tokenizer = Tokenizer::load(command.tokenizer);
  const std::string text = command.text.empty() ? read_all(std::cin) : command.text;
  std::string line;
  for (const int32_t token : tokenizer.encode(text))
    line += (line.empty() ? "" : " ") + std::to_string(token);
  std::puts(line.c_str());
  return 0;
}

int decode(const TokenizerCommand& command) {
  const Tokenizer tokenizer = Tokenizer::load(command.tokenizer);
  std::istringstream words(command.text.empty() ? read_all(std::cin) : command.text);
  std::vector<int32_t> tokens;
  for (std::string word; words >> word;) {
    char* end = nullptr;
    const long value = std::strtol(word.c_str(), &end, 10);
    check(end && *end == '\0' && value >= 0 && value < tokenizer.vocab_size(), ErrorKind::data,
          "'" + word + "' is not a token id below", tokenizer.vocab_size());
    tokens.push_back(static_cast<int32_t>(value));
  }
  const std::string text = tokenizer.decode(tokens);
  std::fwrite(text.data(), 1, text.size(), stdout);
  return 0;
}

}  // namespace

Verb tokenizer_verb() {
  const auto c = std::make_shared<TokenizerCommand>();
  const FlagTraits required{.required = true};
  const Verb train_it{
      .name = "train",
      .help = "byte-level BPE from text",
      .flags = {{"--input", &c->inputs, "text or JSONL files (.gz, .zst)", ExistingFile{},
                 required},
                {"--vocab", &c->vocab_size, "tokens", Whole{1, INT32_MAX}, required},
                {"-o,--output", &c->output, "tokenizer.json (Hugging Face)", {}, required}},
      .run = [c] { return train(*c); }};
  const Flag file{"tokenizer", &c->tokenizer, "tokenizer.json", {}, required};
  const Verb encode_text{.name = "encode",
                         .help = "text -> ids",
                         .flags = {file, {"text", &c->text, "default: standard input"}},
                         .run = [c] { return encode(*c); }};
  const Verb decode_ids{.name = "decode",
                        .help = "ids -> text",
                        .flags = {file, {"ids", &c->text, "default: standard input"}},
                        .run = [c] { return decode(*c); }};
  return {.name = "tokenizer",
          .help = "train and use tokenizers",
          .verbs = {train_it, encode_text, decode_ids}};
}

}  // namespace tessera
