// SPDX-License-Identifier: Apache-2.0
#include "launch/run/preflight.h"

#include <algorithm>
#include <fstream>
#include <span>

#include "data/identity.h"
#include "data/packer.h"
#include "data/token_file.h"
#include "data/tokenizer.h"
#include "launch/report/xz_size.h"

namespace tessera {
namespace {

std::string shorten(const std::string& hash) {
  return hash.size() > 15 ? hash.substr(0, 15) + "..." : hash;
}

void check_tokenizer(const TokenFile& file, const Recipe& recipe, const Tokenizer& tokenizer) {
  const TokenFileInfo& info = file.info();
  check(info.tokenizer_hash.empty() || info.tokenizer_hash == tokenizer.hash(), ErrorKind::data,
        file.prefix() + " was tokenized with " + shorten(info.tokenizer_hash) + " (vocab " +
            std::to_string(info.vocab_size) + ") but data.tokenizer " + recipe.data.tokenizer +
            " is " + shorten(tokenizer.hash()) + " (vocab " +
            std::to_string(tokenizer.vocab_size()) +
            "). Re-run tessera data prepare, or set data.tokenizer to the one it wrote.");
}

void check_ids_of(const std::string& prefix, int64_t vocab_size) {
  constexpr int64_t kMostTokens = int64_t{64} << 20, kAtOnce = int64_t{1} << 20;
  const TokenFile file = TokenFile::open(prefix);
  const TokenFileInfo& info = file.info();
  const bool vouched = info.vocab_size > 0 && info.tokens == file.num_tokens();
  if (vouched && info.vocab_size <= vocab_size) return;
  const int64_t count = std::min(file.num_tokens(), kMostTokens);
  std::vector<int32_t> tokens(static_cast<size_t>(std::min(count, kAtOnce)));
  for (int64_t first = 0; first < count; first += kAtOnce) {
    const int64_t part = std::min(kAtOnce, count - first);
    file.read(first, part, tokens.data());
    check_ids(file, first, std::span(tokens.data(), static_cast<size_t>(part)), vocab_size);
  }
}

// Notes what the file is; its contents are vouched for by PREFIX.json.
std::string identify(const TokenFile& file, DataSummary& summary) {
  const std::string doubt = doubt_about(file);
  if (!doubt.empty()) summary.doubts.push_back(doubt);
  if (summary.tokenizer.empty()) summary.tokenizer = file.info().tokenizer_hash;
  return identity_of(file);
}

}  // namespace

std::vector<std::string> training_files(const DataOptions& data) {
  std::vector<std::string> train;
  if (!data.train.empty()) train.push_back(data.train);
  for (const BlendSource& source : data.blend) train.push_back(source.path);
  return train;
}

void check_token_ids(const Recipe& recipe) {
  for (const std::string& prefix : training_files(recipe.data))
    check_ids_of(prefix, recipe.model.vocab_size);
  if (!recipe.data.validation.empty())
    check_ids_of(recipe.data.validation, recipe.model.vocab_size);
}

DataSummary check_data(const Recipe& recipe) {
  DataSummary summary;
  const DataOptions& data = recipe.data;
  std::optional<Tokenizer> tokenizer;
  if (!data.tokenizer.empty()) {
    tokenizer = Tokenizer::load(data.tokenizer);
    check(tokenizer->vocab_size() <= recipe.model.vocab_size, ErrorKind::data,
          "model.vocab_size " + std::to_string(recipe.model.vocab_size) + " is below the " +
              std::to_string(tokenizer->vocab_size()) + " tokens of " + data.tokenizer);
    summary.tokenizer = tokenizer->hash();
  }
  int64_t bytes = 0;
  for (const std::string& prefix : training_files(data)) {
    const TokenFile file = TokenFile::open(prefix);
    if (tokenizer) check_tokenizer(file, recipe, *tokenizer);
    require_windows(file, data.sequence_length);
    summary.train.push_back(identify(file, summary));
    summary.train_tokens += file.num_tokens();
    bytes += file.info().bytes;
  }
  if (summary.train_tokens > 0)
    summary.bytes_per_token =
        static_cast<double>(bytes) / static_cast<double>(summary.train_tokens);
  if (!data.validation.empty()) {
    const TokenFile file = TokenFile::open(data.validation);
    if (tokenizer) check_tokenizer(file, recipe, *tokenizer);
    require_targets(file);
    summary.validation = identify(file, summary);
    summary.validation_tokens = file.num_tokens();
  }
  return summary;
}

double validation_xz(const Recipe& recipe) {
  constexpr int64_t kMostTokens = int64_t{16} << 20;  // xz -9e takes about a second a megabyte
  if (recipe.data.validation.empty() || recipe.data.tokenizer.empty()) return 0;
  const TokenFile file = TokenFile::open(recipe.data.validation);
  if (file.num_tokens() > kMostTokens || file.info().bytes > kMostTokens) return 0;
  std::vector<int32_t> tokens(static_cast<size_t>(file.num_tokens()));
  file.read(0, file.num_tokens(), tokens.data());
  return xz_bits_per_byte(Tokenizer::load(recipe.data.tokenizer).decode(tokens));
}

int64_t available_memory() {
  std::ifstream in("/proc/meminfo");
  std::string key, unit;
  for (int64_t kib = 0; in >> key >> kib; std::getline(in, unit))
    if (key == "MemAvailable:") return 1024 * kib;
  return 0;
}

}  // namespace tessera
