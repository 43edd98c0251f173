// SPDX-License-Identifier: Apache-2.0
// `tessera tokenizer train|encode|decode`.
#include "data/tokenizer.h"

#include <cstdio>
#include <iostream>
#include <iterator>
#include <sstream>

#include "data/bpe_trainer.h"
#include "data/documents.h"
#include "kernels/base/log.h"
#include "launch/report/progress.h"
#include "launch/verb/verbs.h"

namespace tessera {
namespace {

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

}  // namespace

int tokenizer_train_verb(const TokenizerCommand& command) {
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

int tokenizer_encode_verb(const TokenizerCommand& command) {
  const Tokenizer tokenizer = Tokenizer::load(command.tokenizer);
  const std::string text = command.text.empty() ? read_all(std::cin) : command.text;
  std::string line;
  for (const int32_t token : tokenizer.encode(text))
    line += (line.empty() ? "" : " ") + std::to_string(token);
  std::puts(line.c_str());
  return 0;
}

int tokenizer_decode_verb(const TokenizerCommand& command) {
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

}  // namespace tessera
