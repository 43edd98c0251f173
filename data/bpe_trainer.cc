// SPDX-License-Identifier: Apache-2.0
#include "data/bpe_trainer.h"

#include <algorithm>
#include <numeric>
#include <queue>

#include "data/tokenizer_model.h"
#include "data/utf8.h"
#include "kernels/base/check.h"

namespace tessera {
namespace {

constexpr int64_t kMergesBetweenReports = 256;

// The distinct pieces of the text as tokens, and where each pair of neighbours occurs.
class Merging {
 public:
  Merging(TokenizerParts& parts, int64_t vocab_size) : parts_(parts), vocab_size_(vocab_size) {
    for (size_t id = 0; id < parts.vocabulary.size(); ++id)
      id_of_[parts.vocabulary[id]] = static_cast<int32_t>(id);
  }

  void add_piece(std::span<const int32_t> tokens, int64_t count) {
    pieces_.push_back({symbols_.size(), static_cast<uint32_t>(tokens.size()), count});
    symbols_.insert(symbols_.end(), tokens.begin(), tokens.end());
  }

  void run(const std::function<void(double)>& progress);

 private:
  struct Piece {
    size_t begin;     // in symbols_
    uint32_t length;  // shrinks as its symbols merge
    int64_t count;    // how often the text has it
  };
  struct Pair {
    int64_t count = 0;
    int64_t fresh = -1;  // the list of pieces that this merge put the pair into; -1: none yet
  };
  struct Candidate {
    int64_t count;
    TokenPair pair;
    int64_t places;  // its list of pieces
    bool operator<(const Candidate& other) const {
      return count != other.count ? count < other.count : pair > other.pair;
    }
  };

  void count_pairs();
  int32_t token_for(TokenPair pair);
  void merge_in(size_t piece, TokenPair pair, int32_t token);
  void change(TokenPair pair, int64_t by, size_t piece);

  TokenizerParts& parts_;
  const int64_t vocab_size_;
  std::unordered_map<std::string, int32_t> id_of_;
  std::vector<Piece> pieces_;
  std::vector<int32_t> symbols_;
  PairMap<Pair> pairs_;
  std::vector<std::vector<uint32_t>> places_;  // lists of pieces
  std::vector<TokenPair> touched_;             // pairs that the current merge made
  std::priority_queue<Candidate> queue_;
};

void Merging::count_pairs() {
  for (size_t p = 0; p < pieces_.size(); ++p)
    for (size_t i = pieces_[p].begin; i + 1 < pieces_[p].begin + pieces_[p].length; ++i)
      change({symbols_[i], symbols_[i + 1]}, pieces_[p].count, p);
}

void Merging::change(TokenPair pair, int64_t by, size_t piece) {
  Pair& known = pairs_[pair];
  known.count += by;
  if (by <= 0) return;
  if (known.fresh < 0) {
    known.fresh = static_cast<int64_t>(places_.size());
    places_.emplace_back();
    touched_.push_back(pair);
  }
  std::vector<uint32_t>& list = places_[static_cast<size_t>(known.fresh)];
  if (list.empty() || list.back() != piece) list.push_back(static_cast<uint32_t>(piece));
}

int32_t Merging::token_for(TokenPair pair) {
  const std::string bytes = parts_.vocabulary[static_cast<size_t>(pair.first)] +
                            parts_.vocabulary[static_cast<size_t>(pair.second)];
  const auto next = static_cast<int32_t>(parts_.vocabulary.size());
  const auto [entry, is_new] = id_of_.emplace(bytes, next);
  if (is_new) parts_.vocabulary.push_back(bytes);
  return entry->second;  // "abc" may come from ab + c and from a + bc
}

void Merging::merge_in(size_t index, TokenPair pair, int32_t token) {
  Piece& piece = pieces_[index];
  int32_t* s = &symbols_[piece.begin];
  uint32_t kept = 0;
  for (uint32_t i = 0; i < piece.length; ++i) {
    const bool here = s[i] == pair.first && i + 1 < piece.length && s[i + 1] == pair.second;
    if (!here) {
      s[kept++] = s[i];
      continue;
    }
    if (kept > 0) {
      change({s[kept - 1], pair.first}, -piece.count, index);
      change({s[kept - 1], token}, piece.count, index);
    }
    if (i + 2 < piece.length) {
      change({pair.second, s[i + 2]}, -piece.count, index);
      change({token, s[i + 2]}, piece.count, index);
    }
    s[kept++] = token;
    ++i;
  }
  piece.length = kept;
}

void Merging::run(const std::function<void(double)>& progress) {
  count_pairs();
  const auto first = static_cast<int64_t>(parts_.vocabulary.size());
  const auto enqueue_touched = [&] {
    for (const TokenPair& pair : touched_) {
      Pair& known = pairs_[pair];
      if (known.count > 0) queue_.push({known.count, pair, known.fresh});
      known.fresh = -1;
    }
    touched_.clear();
  };
  enqueue_touched();
  while (static_cast<int64_t>(parts_.vocabulary.size()) < vocab_size_ && !queue_.empty()) {
    Candidate best = queue_.top();
    queue_.pop();
    const int64_t count = pairs_[best.pair].count;
    if (best.count != count) {  // merges since have used up some of its places
      best.count = count;
      if (count > 0) queue_.push(best);
      continue;
    }
    const int32_t token = token_for(best.pair);
    parts_.merges.push_back(best.pair);
    const std::vector<uint32_t> pieces = std::move(places_[static_cast<size_t>(best.places)]);
    for (const uint32_t piece : pieces) merge_in(piece, best.pair, token);
    enqueue_touched();
    const int64_t done = static_cast<int64_t>(parts_.vocabulary.size()) - first;
    if (progress && done % kMergesBetweenReports == 0)
      progress(static_cast<double>(done) / static_cast<double>(vocab_size_ - first));
  }
  if (progress) progress(1);
}

// Hugging Face keeps merges in a map: of a pair that was merged twice the later rank counts.
void keep_last_of_equal(std::vector<TokenPair>& merges) {
  PairMap<size_t> last;
  for (size_t i = 0; i < merges.size(); ++i) last[merges[i]] = i;
  size_t kept = 0;
  for (size_t i = 0; i < merges.size(); ++i)
    if (*last.find(merges[i]) == i) merges[kept++] = merges[i];
  merges.resize(kept);
}

}  // namespace

BpeTrainer::BpeTrainer() {
  pre_tokenizer_.add_regex(kGpt2Regex, PreTokenizer::Behavior::isolated, false);
}

void BpeTrainer::add(std::string_view text) {
  pre_tokenizer_.split(text, [this](std::string_view piece) {
    const auto found = counts_.find(piece);
    if (found != counts_.end())
      ++found->second;
    else
      counts_.emplace(piece, 1);
  });
}

void BpeTrainer::add(const BpeTrainer& other) {
  for (const auto& [piece, count] : other.counts_) counts_[piece] += count;
}

Tokenizer BpeTrainer::train(const BpeOptions& options) const {
  const bool control = !options.end_of_document.empty();
  const int64_t smallest = 256 + (control ? 1 : 0);
  check(options.vocab_size >= smallest, ErrorKind::usage, "a byte-level vocabulary needs at least",
        smallest, "tokens, got", options.vocab_size);
  check(!counts_.empty(), ErrorKind::data, "there is no text to train a tokenizer on");
  TokenizerParts parts;
  if (control) {
    parts.added.push_back({0, options.end_of_document, true});
    parts.vocabulary.emplace_back();
  }
  // Bytes in the order of the characters that stand for them, as Hugging Face sorts its alphabet.
  std::array<int, 256> order;
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [](int a, int b) {
    const auto& shown = byte_characters();
    return decode_utf8(shown[static_cast<size_t>(a)]).value <
           decode_utf8(shown[static_cast<size_t>(b)]).value;
  });
  std::array<int32_t, 256> id_of_byte;
  for (const int byte : order) {
    id_of_byte[static_cast<size_t>(byte)] = static_cast<int32_t>(parts.vocabulary.size());
    parts.vocabulary.emplace_back(1, static_cast<char>(byte));
  }
  Merging merging(parts, options.vocab_size);
  std::vector<int32_t> tokens;
  for (const auto& [piece, count] : counts_) {
    tokens.clear();
    for (const char c : piece) tokens.push_back(id_of_byte[static_cast<unsigned char>(c)]);
    merging.add_piece(tokens, count);
  }
  merging.run(options.progress);
  keep_last_of_equal(parts.merges);
  return Tokenizer::parse("the trained tokenizer", write_tokenizer_json(parts));
}

Tokenizer train_bpe(std::string_view text, const BpeOptions& options) {
  BpeTrainer trainer;
  trainer.add(text);
  return trainer.train(options);
}

}  // namespace tessera
