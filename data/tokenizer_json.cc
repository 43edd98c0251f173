// SPDX-License-Identifier: Apache-2.0
// tokenizer.json <-> Tokenizer::Model.
#include <algorithm>
#include <atomic>

#include <nlohmann/json.hpp>

#include "data/hash.h"
#include "data/tokenizer_model.h"
#include "data/utf8.h"
#include "kernels/base/check.h"

namespace tessera {
namespace {

using Json = nlohmann::json;
using Model = Tokenizer::Model;
constexpr int kDeepest = 32;             // levels of nesting; the format needs about 6
constexpr int64_t kLargestId = 1 << 24;  // vocabularies are 100 times smaller
// The names under which published tokenizers keep their end of a document, most usual first.
constexpr const char* kEndOfDocument[] = {"<|endoftext|>",
                                          "<|end_of_text|>",
                                          "<｜end▁of▁sentence｜>",
                                          "<|end_of_document|>",
                                          "</s>",
                                          "<eos>",
                                          "[EOS]"};

// A value of the file and the way to it, for messages: "a.json: pre_tokenizer.pattern ...".
struct Field {
  const std::string& file;
  std::string path;
  const Json& value;

  [[noreturn]] void fail(const std::string& what, Where where = {}) const {
    throw Error(ErrorKind::data, file + ": " + path + " " + what, where);
  }
  bool has(const char* key) const { return value.contains(key) && !value[key].is_null(); }
  Field operator[](const char* key) const {
    if (!value.is_object() || !value.contains(key)) fail(std::string("lacks `") + key + "`");
    return {file, path.empty() ? key : path + "." + key, value[key]};
  }
  Field operator[](size_t index) const {
    return {file, path + "[" + std::to_string(index) + "]", value[index]};
  }
  std::string text() const {
    if (!value.is_string()) fail("must be a string");
    return value.get<std::string>();
  }
  int64_t id() const {
    const bool valid = value.is_number_integer() && value.get<int64_t>() >= 0;
    if (!valid || value.get<int64_t>() > kLargestId) fail("must be a token id, 0 .. 16777216");
    return value.get<int64_t>();
  }
  bool flag(const char* key, bool otherwise) const {
    if (!has(key)) return otherwise;
    if (!value[key].is_boolean()) (*this)[key].fail("must be true or false");
    return value[key].get<bool>();
  }
  // A feature that we do not have: absent, null, false and "" are all the same.
  void refuse(const char* key) const {
    if (!has(key)) return;
    const Json& v = value[key];
    if (v == false || v == "" || v == 0.0) return;
    (*this)[key].fail("is not supported (only null)");
  }
};

Json parse_json(const std::string& file, std::string_view text) {
  // The depth is bounded because walking and writing JSON are recursive.
  const auto shallow = [&](int depth, Json::parse_event_t, Json&) {
    check(depth <= kDeepest, ErrorKind::data, file + ": nested deeper than", kDeepest, "levels");
    return true;
  };
  try {
    return Json::parse(text, shallow);
  } catch (const Json::exception& error) {
    fail(ErrorKind::data, file + ": not a tokenizer.json:", error.what());
  }
}

PreTokenizer::Behavior behavior_of(const Field& field) {
  using Behavior = PreTokenizer::Behavior;
  const std::string name = field.text();
  if (name == "Isolated") return Behavior::isolated;
  if (name == "Removed") return Behavior::removed;
  if (name == "Contiguous") return Behavior::contiguous;
  if (name == "MergedWithPrevious") return Behavior::merged_with_previous;
  if (name == "MergedWithNext") return Behavior::merged_with_next;
  field.fail("is `" + name +
             "`, but must be Isolated, Removed, Contiguous, MergedWithPrevious or "
             "MergedWithNext");
}

void read_split(const Field& step, PreTokenizer& out) {
  const Field pattern = step["pattern"];
  const PreTokenizer::Behavior behavior = behavior_of(step["behavior"]);
  const bool invert = step.flag("invert", false);
  try {
    if (pattern.has("Regex")) return out.add_regex(pattern["Regex"].text(), behavior, invert);
    if (pattern.has("String")) return out.add_literal(pattern["String"].text(), behavior, invert);
  } catch (const Error& error) {
    pattern.fail(std::string("cannot be used: ") + error.what());
  }
  pattern.fail("must be {\"Regex\": ...} or {\"String\": ...}");
}

// Returns whether a ByteLevel step was among them.
bool read_pre_tokenizer(const Field& step, PreTokenizer& out) {
  const std::string type = step["type"].text();
  if (type == "Sequence") {
    const Field list = step["pretokenizers"];
    if (!list.value.is_array()) list.fail("must be a list");
    bool byte_level = false;
    for (size_t i = 0; i < list.value.size(); ++i) {
      if (byte_level) list[i].fail("comes after ByteLevel, which must be the last");
      byte_level = read_pre_tokenizer(list[i], out);
    }
    return byte_level;
  }
  if (type == "Split") {
    read_split(step, out);
  } else if (type == "Digits") {
    out.add_regex("\\p{N}",
                  step.flag("individual_digits", false) ? PreTokenizer::Behavior::isolated
                                                        : PreTokenizer::Behavior::contiguous,
                  false);
  } else if (type == "ByteLevel") {
    if (step.flag("add_prefix_space", true))
      step.fail(
          "has add_prefix_space: true (its default), which is not supported: decoding would "
          "not give the text back");
    if (step.flag("use_regex", true))
      out.add_regex(kGpt2Regex, PreTokenizer::Behavior::isolated, false);
    return true;
  } else {
    step["type"].fail("is `" + type + "`, but ByteLevel, Split, Digits and Sequence are supported");
  }
  return false;
}

void read_normalizer(const Field& root) {
  if (!root.has("normalizer")) return;
  const Field normalizer = root["normalizer"];
  const std::string type = normalizer["type"].text();
  const bool nothing = type == "Sequence" && normalizer["normalizers"].value.empty();
  if (!nothing)
    normalizer.fail("is `" + type + "`, but only null or an empty Sequence is supported");
}

void read_added_tokens(const Field& root, Model& model) {
  if (!root.has("added_tokens")) return;
  const Field list = root["added_tokens"];
  if (!list.value.is_array()) list.fail("must be a list");
  for (size_t i = 0; i < list.value.size(); ++i) {
    const Field token = list[i];
    const std::string content = token["content"].text();
    if (content.empty()) token["content"].fail("is empty");
    for (const char* key : {"single_word", "lstrip", "rstrip"}) token.refuse(key);
    model.added.push_back(
        {static_cast<int32_t>(token["id"].id()), content, token.flag("special", false)});
  }
}

// The vocabulary as id -> token, with the added tokens in place.
void read_vocabulary(const Field& vocab, Model& model) {
  if (!vocab.value.is_object()) vocab.fail("must be an object");
  std::unordered_map<std::string, int32_t> added;
  for (const AddedToken& token : model.added) {
    if (!added.emplace(token.content, token.id).second)
      vocab.fail("cannot be read: added token `" + token.content + "` is there twice");
  }
  std::vector<char> taken;
  const auto place = [&](const std::string& token, int32_t id) -> std::string& {
    const auto at = static_cast<size_t>(id);
    if (at >= taken.size()) taken.resize(at + 1, 0);
    if (at >= model.tokens.size()) model.tokens.resize(at + 1);
    if (taken[at])
      vocab.fail("gives id " + std::to_string(id) + " to two tokens, one is `" + token + "`");
    taken[at] = 1;
    return model.tokens[at];
  };
  for (const auto& [token, id_json] : vocab.value.items()) {
    const auto id = static_cast<int32_t>(Field{vocab.file, vocab.path + "." + token, id_json}.id());
    const auto control = added.find(token);
    if (control != added.end()) {
      if (control->second != id)
        vocab.fail("has `" + token + "` as " + std::to_string(id) + ", added_tokens as " +
                   std::to_string(control->second));
      continue;
    }
    const std::optional<std::string> bytes = model.byte_level ? bytes_of_token(token) : token;
    if (!bytes) vocab.fail("has the token `" + token + "`, which is no byte-level token");
    if (!model.id_of.emplace(*bytes, id).second) vocab.fail("has the token `" + token + "` twice");
    place(token, id) = *bytes;
  }
  for (const AddedToken& token : model.added)
    place(token.content, token.id) = token.special ? "" : token.content;
  if (model.tokens.empty()) vocab.fail("is empty");
}

void read_merges(const Field& merges, Model& model) {
  if (!merges.value.is_array()) merges.fail("must be a list");
  for (size_t i = 0; i < merges.value.size(); ++i) {
    const Json& entry = merges.value[i];
    std::string left, right;
    if (entry.is_string()) {  // "a b"; newer files have ["a", "b"]
      const std::string text = entry.get<std::string>();
      const size_t space = text.find(' ');
      if (space == std::string::npos) merges[i].fail("must be \"a b\" or [\"a\", \"b\"]");
      left = text.substr(0, space);
      right = text.substr(space + 1);
    } else if (entry.is_array() && entry.size() == 2 && entry[0].is_string() &&
               entry[1].is_string()) {
      left = entry[0].get<std::string>();
      right = entry[1].get<std::string>();
    } else {
      merges[i].fail("must be \"a b\" or [\"a\", \"b\"]");
    }
    const auto id_of = [&](const std::string& token) {
      const std::optional<std::string> bytes = bytes_of_token(token);
      const auto found = bytes ? model.id_of.find(*bytes) : model.id_of.end();
      if (found == model.id_of.end())
        merges[i].fail("needs `" + token + "`, which the vocabulary lacks");
      return found->second;
    };
    const TokenPair pair{id_of(left), id_of(right)};
    model.merges[pair] = {static_cast<int32_t>(i), id_of(left + right)};
  }
}

void read_model(const Field& root, Model& model) {
  const Field bpe = root["model"];
  const std::string type = bpe["type"].text();
  if (type != "BPE") bpe["type"].fail("is `" + type + "`, but only BPE is supported");
  for (const char* key :
       {"dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"})
    bpe.refuse(key);
  model.ignore_merges = bpe.flag("ignore_merges", false);
  read_added_tokens(root, model);
  read_vocabulary(bpe["vocab"], model);
  if (model.byte_level) {
    read_merges(bpe["merges"], model);
  } else if (bpe.has("merges") && !bpe["merges"].value.empty()) {
    bpe["merges"].fail(
        "must be empty without a ByteLevel pre_tokenizer (a tokenizer of characters)");
  }
  model.byte_ids.fill(-1);
  for (int byte = 0; byte < 256; ++byte) {
    const auto found = model.id_of.find(std::string(1, static_cast<char>(byte)));
    if (found != model.id_of.end()) model.byte_ids[static_cast<size_t>(byte)] = found->second;
  }
}

void read_decoder(const Field& root, const Model& model) {
  if (!root.has("decoder")) return;
  const Field type = root["decoder"]["type"];
  const std::string expected = model.byte_level ? "ByteLevel" : "Fuse";
  if (type.text() != expected)
    type.fail("is `" + type.text() + "`, but must be " + expected + " with this pre_tokenizer");
}

}  // namespace

const std::array<std::string, 256>& byte_characters() {
  static const std::array<std::string, 256> table = [] {
    std::array<std::string, 256> characters;
    uint32_t next = 256;  // bytes without a printable Latin-1 character get these, in order
    for (uint32_t byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
      append_utf8(printable ? byte : next++, characters[byte]);
    }
    return characters;
  }();
  return table;
}

std::optional<std::string> bytes_of_token(std::string_view token) {
  static const std::unordered_map<uint32_t, char> byte_of = [] {
    std::unordered_map<uint32_t, char> table;
    for (size_t byte = 0; byte < 256; ++byte)
      table[decode_utf8(byte_characters()[byte]).value] = static_cast<char>(byte);
    return table;
  }();
  std::string bytes;
  while (!token.empty()) {
    const CodePoint character = decode_utf8(token);
    const auto found = byte_of.find(character.value);
    if (character.size == 0 || found == byte_of.end()) return std::nullopt;
    bytes += found->second;
    token.remove_prefix(static_cast<size_t>(character.size));
  }
  return bytes;
}

Tokenizer Tokenizer::parse(const std::string& name, std::string_view text) {
  static std::atomic<uint64_t> serial{0};
  const Json json = parse_json(name, text);
  const Field root{name, "", json};
  auto model = std::make_shared<Model>();
  model->name = name;
  model->json = text;
  model->serial = ++serial;
  read_normalizer(root);
  model->byte_level =
      root.has("pre_tokenizer") && read_pre_tokenizer(root["pre_tokenizer"], model->pre_tokenizer);
  if (!model->byte_level && root.has("pre_tokenizer"))
    root["pre_tokenizer"].fail("has no ByteLevel step: only byte-level BPE is supported");
  read_model(root, *model);
  read_decoder(root, *model);
  for (const char* content : kEndOfDocument) {
    for (const AddedToken& token : model->added)
      if (!model->end_of_document && token.content == content) model->end_of_document = token.id;
  }
  model->hash = "sha256:" + sha256_hex(json.dump());  // keys sorted, no spaces
  return Tokenizer(std::move(model));
}

std::string write_tokenizer_json(const TokenizerParts& parts) {
  const auto quoted = [](const std::string& text) { return Json(text).dump(); };
  const auto shown = [&](const std::string& token) {
    if (!parts.byte_level) return token;
    std::string characters;
    for (const char c : token) characters += byte_characters()[static_cast<unsigned char>(c)];
    return characters;
  };
  const std::string byte_level =
      std::string(R"({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, )") +
      (parts.gpt2_regex ? R"("use_regex": true})" : R"("use_regex": false})");
  std::string out = "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n";
  out += "  \"added_tokens\": [";
  for (size_t i = 0; i < parts.added.size(); ++i)
    out += (i == 0 ? "\n    " : ",\n    ") + ("{\"id\": " + std::to_string(parts.added[i].id)) +
           ", \"content\": " + quoted(parts.added[i].content) +
           R"(, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, )" +
           "\"special\": true}";
  out += parts.added.empty() ? "],\n" : "\n  ],\n";
  out += "  \"normalizer\": null,\n  \"pre_tokenizer\": ";
  out += parts.byte_level ? byte_level : "null";
  out += ",\n  \"post_processor\": null,\n  \"decoder\": ";
  out += parts.byte_level ? byte_level : R"({"type": "Fuse"})";
  out += R"(,
  "model": {
    "type": "BPE",
    "dropout": null,
    "unk_token": null,
    "continuing_subword_prefix": null,
    "end_of_word_suffix": null,
    "fuse_unk": false,
    "byte_fallback": false,
    "ignore_merges": false,
    "vocab": {)";
  // Hugging Face lists control tokens in the vocabulary too when they have the first ids.
  const char* separator = "\n      ";
  for (size_t id = 0; id < parts.vocabulary.size(); ++id) {
    const auto control =
        std::find_if(parts.added.begin(), parts.added.end(),
                     [&](const auto& token) { return token.id == static_cast<int32_t>(id); });
    const bool is_control = control != parts.added.end();
    out += separator + quoted(is_control ? control->content : shown(parts.vocabulary[id])) + ": " +
           std::to_string(id);
    separator = ",\n      ";
  }
  out += "\n    },\n    \"merges\": [";
  separator = "\n      ";
  for (const TokenPair& pair : parts.merges) {
    out += separator + quoted(shown(parts.vocabulary[static_cast<size_t>(pair.first)]) + " " +
                              shown(parts.vocabulary[static_cast<size_t>(pair.second)]));
    separator = ",\n      ";
  }
  out += parts.merges.empty() ? "]\n  }\n}\n" : "\n    ]\n  }\n}\n";
  return out;
}

}  // namespace tessera
