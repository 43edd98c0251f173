// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizer.h"

#include <algorithm>
#include <limits>
#include <queue>
#include <set>

#include "data/files.h"
#include "data/tokenizer_model.h"
#include "data/utf8.h"
#include "kernels/base/check.h"

namespace tessera {
namespace {

using Model = Tokenizer::Model;
constexpr int32_t kNoRank = std::numeric_limits<int32_t>::max();
constexpr size_t kShortPiece = 48;         // up to here a scan beats a heap
constexpr size_t kLongestCached = 64;      // bytes of a piece worth remembering
constexpr size_t kCachedPieces = 1 << 16;  // then a thread's cache starts again

// Merges a short piece: look for the lowest rank, leftmost first, again and again.
void merge_short(const Model& model, std::vector<int32_t>& ids) {
  std::array<Merge, kShortPiece> next;  // of ids[i] and ids[i + 1]
  const auto merge_at = [&](size_t i) {
    if (i + 1 >= ids.size()) return Merge{kNoRank, 0};
    const Merge* merge = model.merges.find({ids[i], ids[i + 1]});
    return merge != nullptr ? *merge : Merge{kNoRank, 0};
  };
  for (size_t i = 0; i < ids.size(); ++i) next[i] = merge_at(i);
  while (ids.size() > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < ids.size(); ++i)
      if (next[i].rank < next[best].rank) best = i;
    if (next[best].rank == kNoRank) return;
    ids[best] = next[best].id;
    ids.erase(ids.begin() + static_cast<int64_t>(best) + 1);
    for (size_t i = best + 1; i < ids.size(); ++i) next[i] = next[i + 1];
    next[best] = merge_at(best);
    if (best > 0) next[best - 1] = merge_at(best - 1);
  }
}

// The same for a piece of any length: a linked list of symbols and a heap of possible merges.
void merge_long(const Model& model, std::vector<int32_t>& ids) {
  struct Symbol {
    int32_t id;
    size_t before, after;
  };
  struct Candidate {
    Merge merge;
    size_t left, right;
    TokenPair pair;  // what stood there when it was found
    bool operator>(const Candidate& other) const {
      return merge.rank != other.merge.rank ? merge.rank > other.merge.rank : left > other.left;
    }
  };
  const size_t none = ids.size();
  std::vector<Symbol> symbols(ids.size());
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> heap;
  const auto consider = [&](size_t left, size_t right) {
    if (left == none || right == none) return;
    const TokenPair pair{symbols[left].id, symbols[right].id};
    if (const Merge* merge = model.merges.find(pair)) heap.push({*merge, left, right, pair});
  };
  for (size_t i = 0; i < ids.size(); ++i) symbols[i] = {ids[i], i == 0 ? none : i - 1, i + 1};
  for (size_t i = 0; i + 1 < ids.size(); ++i) consider(i, i + 1);
  while (!heap.empty()) {
    const Candidate best = heap.top();
    heap.pop();
    Symbol& left = symbols[best.left];
    Symbol& right = symbols[best.right];
    // Either symbol may have become part of another since.
    if (left.id != best.pair.first || right.id != best.pair.second || left.after != best.right)
      continue;
    left.id = best.merge.id;
    right.id = -1;
    left.after = right.after;
    if (left.after != none) symbols[left.after].before = best.left;
    consider(left.before, best.left);
    consider(best.left, left.after);
  }
  ids.clear();
  for (const Symbol& symbol : symbols)
    if (symbol.id >= 0) ids.push_back(symbol.id);
}

void to_byte_ids(const Model& model, std::string_view piece, std::vector<int32_t>& ids) {
  for (const char c : piece) {
    const int32_t id = model.byte_ids[static_cast<unsigned char>(c)];
    check(id >= 0, ErrorKind::data, model.name + ": the vocabulary has no token for byte",
          static_cast<int>(static_cast<unsigned char>(c)), "which this text needs");
    ids.push_back(id);
  }
}

std::vector<int32_t> encode_piece(const Model& model, std::string_view piece) {
  if (model.ignore_merges) {
    const auto found = model.id_of.find(std::string(piece));
    if (found != model.id_of.end()) return {found->second};
  }
  std::vector<int32_t> ids;
  ids.reserve(piece.size());
  to_byte_ids(model, piece, ids);
  ids.size() <= kShortPiece ? merge_short(model, ids) : merge_long(model, ids);
  return ids;
}

// Most pieces of a text are words seen before. One cache per thread, for the model used last.
struct PieceCache {
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  uint64_t serial = 0;
  std::unordered_map<std::string, std::vector<int32_t>, Hash, std::equal_to<>> pieces;
};

void encode_bytes(const Model& model, std::string_view text, std::vector<int32_t>& out) {
  if (model.merges.size() == 0 && !model.ignore_merges && model.pre_tokenizer.empty())
    return to_byte_ids(model, text, out);
  thread_local PieceCache cache;
  if (cache.serial != model.serial || cache.pieces.size() > kCachedPieces) {
    cache.pieces.clear();
    cache.serial = model.serial;
  }
  model.pre_tokenizer.split(text, [&](std::string_view piece) {
    const auto found = cache.pieces.find(piece);
    if (found != cache.pieces.end()) {
      out.insert(out.end(), found->second.begin(), found->second.end());
      return;
    }
    std::vector<int32_t> ids = encode_piece(model, piece);
    out.insert(out.end(), ids.begin(), ids.end());
    if (piece.size() <= kLongestCached) cache.pieces.emplace(piece, std::move(ids));
  });
}

void encode_characters(const Model& model, std::string_view text, std::vector<int32_t>& out) {
  for (size_t at = 0; at < text.size();) {
    const int size = decode_utf8(text.substr(at)).size;
    check(size > 0, ErrorKind::data, model.name + ": the text is no UTF-8 at byte", at,
          "and a tokenizer of characters needs it");
    const std::string character(text.substr(at, static_cast<size_t>(size)));
    const auto found = model.id_of.find(character);
    check(found != model.id_of.end(), ErrorKind::data,
          model.name + ": the vocabulary has no token for the character '" + character + "'",
          "at byte", at);
    out.push_back(found->second);
    at += static_cast<size_t>(size);
  }
}

void encode_text(const Model& model, std::string_view text, std::vector<int32_t>& out) {
  model.byte_level ? encode_bytes(model, text, out) : encode_characters(model, text, out);
}

// The longest added token that `text` begins with.
const AddedToken* added_token_at(const Model& model, std::string_view text) {
  const AddedToken* longest = nullptr;
  for (const AddedToken& token : model.added)
    if (text.starts_with(token.content) &&
        (longest == nullptr || token.content.size() > longest->content.size()))
      longest = &token;
  return longest;
}

}  // namespace

std::vector<int32_t> Tokenizer::encode(std::string_view text, SpecialTokens special) const {
  std::vector<int32_t> ids;
  ids.reserve(text.size() / 3);
  if (special == SpecialTokens::as_text || model_->added.empty()) {
    encode_text(*model_, text, ids);
    return ids;
  }
  std::array<bool, 256> begins{};  // bytes that an added token begins with
  for (const AddedToken& token : model_->added)
    begins[static_cast<unsigned char>(token.content[0])] = true;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const AddedToken* token = begins[static_cast<unsigned char>(text[at])]
                                  ? added_token_at(*model_, text.substr(at))
                                  : nullptr;
    if (token == nullptr) {
      ++at;
      continue;
    }
    encode_text(*model_, text.substr(begin, at - begin), ids);
    ids.push_back(token->id);
    begin = at += token->content.size();
  }
  encode_text(*model_, text.substr(begin), ids);
  return ids;
}

std::string Tokenizer::decode(std::span<const int32_t> tokens) const {
  std::string text;
  for (const int32_t token : tokens) text += token_bytes(token);
  return text;
}

std::string_view Tokenizer::token_bytes(int32_t token) const {
  check(token >= 0 && token < vocab_size(), ErrorKind::data, model_->name + ": token", token,
        "does not belong to a vocabulary of", vocab_size());
  return model_->tokens[static_cast<size_t>(token)];
}

int64_t Tokenizer::vocab_size() const {
  return static_cast<int64_t>(model_->tokens.size());
}
std::optional<int32_t> Tokenizer::end_of_document() const {
  return model_->end_of_document;
}
bool Tokenizer::byte_level() const {
  return model_->byte_level;
}
std::string Tokenizer::hash() const {
  return model_->hash;
}
const std::string& Tokenizer::json() const {
  return model_->json;
}
void Tokenizer::save(const std::string& path) const {
  write_file(path, model_->json);
}

std::optional<int32_t> Tokenizer::added_token(std::string_view content) const {
  for (const AddedToken& token : model_->added)
    if (token.content == content) return token.id;
  return std::nullopt;
}

Tokenizer Tokenizer::load(const std::string& tokenizer_json) {
  return parse(tokenizer_json, MappedFile::open(tokenizer_json).text());
}

Tokenizer Tokenizer::bytes() {
  TokenizerParts parts{.gpt2_regex = false};
  for (int byte = 0; byte < 256; ++byte) parts.vocabulary.emplace_back(1, static_cast<char>(byte));
  parts.added = {{256, "<|endoftext|>", true}};
  return parse("the tokenizer of bytes", write_tokenizer_json(parts));
}

Tokenizer Tokenizer::characters(std::string_view text) {
  std::set<uint32_t> distinct;
  for (size_t at = 0; at < text.size();) {
    const CodePoint character = decode_utf8(text.substr(at));
    check(character.size > 0, ErrorKind::data, "the text is no UTF-8 at byte", at,
          "and a tokenizer of characters needs it; use the tokenizer `bytes`");
    distinct.insert(character.value);
    at += static_cast<size_t>(character.size);
  }
  check(!distinct.empty(), ErrorKind::data, "a tokenizer of characters needs some text");
  TokenizerParts parts{.byte_level = false, .gpt2_regex = false};
  for (const uint32_t character : distinct) append_utf8(character, parts.vocabulary.emplace_back());
  return parse("the tokenizer of characters", write_tokenizer_json(parts));
}

}  // namespace tessera
