// SPDX-License-Identifier: Apache-2.0
// `tessera eval`: a checkpoint's loss on prepared data, or loss and logits of given token ids.
#include <cmath>
#include <cstdio>
#include <fstream>
#include <memory>
#include <numbers>

#include <nlohmann/json.hpp>

#include "data/eval_windows.h"
#include "data/token_file.h"
#include "launch/open_checkpoint.h"
#include "launch/report/format.h"
#include "launch/report/progress.h"
#include "launch/report/xz_size.h"
#include "launch/run/made_with.h"
#include "launch/run/preflight.h"
#include "launch/verb/common_flags.h"
#include "launch/verb/verbs.h"
#include "trainer/hub/safetensors.h"

namespace tessera {
namespace {

struct EvalCommand {
  std::string checkpoint;
  std::string data;
  std::string tokens;  // JSON file of token id lists
  std::string logits;  // safetensors file to write
  std::vector<std::string> overrides;
  std::string allow_changed;  // a list of what may differ (run/made_with.h)
  bool json = false;
};

using Json = nlohmann::ordered_json;

// {"tokens": [[..], ..]} or [[..], ..] or [..]: lists of token ids.
std::vector<std::vector<int32_t>> read_token_lists(const std::string& path) {
  std::ifstream in(path);
  check(in.good(), ErrorKind::data, "cannot read " + path);
  Json json = Json::parse(in, nullptr, false);
  check(!json.is_discarded(), ErrorKind::data, path + " is not JSON");
  if (json.is_object() && json.contains("tokens")) json = json["tokens"];
  if (json.is_array() && !json.empty() && json[0].is_number_integer()) json = Json::array({json});
  check(json.is_array() && !json.empty(), ErrorKind::data,
        path + ": wants lists of token ids, e.g. [[1, 2, 3], [4, 5]]");
  std::vector<std::vector<int32_t>> lists;
  for (const Json& list : json) {
    check(list.is_array() && !list.empty(), ErrorKind::data,
          path + ": list " + std::to_string(lists.size()) + " is not a list of token ids");
    lists.emplace_back();
    for (const Json& id : list) {
      check(id.is_number_integer() && id.get<int64_t>() >= 0 && id.get<int64_t>() <= INT32_MAX,
            ErrorKind::data, path + ": not a token id: " + id.dump());
      lists.back().push_back(id.get<int32_t>());
    }
  }
  return lists;
}

int eval_tokens(const EvalCommand& command, OpenModel& open) {
  const auto lists = read_token_lists(command.tokens);
  double sum = 0;
  int64_t targets = 0;
  Json losses = Json::array();
  std::vector<NamedTensor> logits;
  for (size_t i = 0; i < lists.size(); ++i) {
    const double loss = open.model->loss(lists[i]);
    const auto count = static_cast<int64_t>(lists[i].size()) - 1;
    sum += loss;
    targets += count;
    losses.push_back(count > 0 ? Json(loss / static_cast<double>(count)) : Json(nullptr));
    if (!command.logits.empty())
      logits.push_back({"logits." + std::to_string(i), open.model->logits(lists[i])});
  }
  if (!command.logits.empty()) write_safetensors(command.logits, logits);
  const double mean = sum / static_cast<double>(std::max<int64_t>(1, targets));
  if (command.json)
    std::printf("%s\n",
                Json{{"loss", mean}, {"tokens", targets}, {"losses", losses}}.dump().c_str());
  else
    std::printf("loss %.6f over %lld target tokens of %zu lists%s%s\n", mean,
                static_cast<long long>(targets), lists.size(),
                command.logits.empty() ? "" : ", logits in ", command.logits.c_str());
  return 0;
}

// Ids of another tokenizer would give a loss, too, and it would mean nothing.
void check_data_tokenizer(const TokenFile& file, const OpenModel& open,
                          const std::string& allow_changed) {
  const std::string& hash = file.info().tokenizer_hash;
  if (hash.empty() || open.tokenizer_hash.empty() || hash == open.tokenizer_hash) return;
  if (allows(allow_changed, Changed::Kind::tokenizer)) return;
  fail(ErrorKind::data, file.prefix() + " was tokenized with " + brief_hash(hash) + ", but " +
                            open.directory + " was made with " + brief_hash(open.tokenizer_hash) +
                            ", to which the same ids are other texts. Prepare the data with that "
                            "tokenizer, or go on all the same with --allow-changed tokenizer");
}

int eval_data(const EvalCommand& command, OpenModel& open) {
  const Recipe& recipe = open.recipe.recipe;
  const std::string prefix = command.data.empty() ? recipe.data.validation : command.data;
  check(!prefix.empty(), ErrorKind::usage, "eval: give --data PREFIX or --tokens FILE.json");
  const TokenFile file = TokenFile::open(prefix);
  check_data_tokenizer(file, open, command.allow_changed);
  // Bytes are counted by the tokenizer that made the data, or not at all.
  const std::string& made_by = file.info().tokenizer_hash;
  if (open.tokenizer && !made_by.empty() && open.tokenizer->hash() != made_by)
    open.tokenizer.reset();
  const int64_t length = recipe.data.sequence_length, tokens = file.num_tokens();
  double sum = 0;
  int64_t targets = 0, bytes = 0;
  const EvalWindows windows(prefix, length, recipe.model.vocab_size,
                            recipe.data.attend_across_documents);
  ProgressLine progress("eval", windows.count());
  for (int64_t window = 0; window < windows.count(); ++window) {
    const MicroBatch batch = windows.read(window, 1);
    sum += open.model->loss(batch, length);
    targets += batch.num_targets;
    for (const int32_t target : batch.targets)
      if (open.tokenizer && target >= 0)
        bytes += static_cast<int64_t>(open.tokenizer->token_bytes(target).size());
    progress.at(window);
  }
  progress.finish();
  const double loss = sum / static_cast<double>(std::max<int64_t>(1, targets));
  const double bpb = bytes > 0 ? sum / std::numbers::ln2 / static_cast<double>(bytes) : 0;
  double xz = 0;
  if (open.tokenizer) {
    std::vector<int32_t> all(static_cast<size_t>(tokens));
    file.read(0, tokens, all.data());
    xz = xz_bits_per_byte(open.tokenizer->decode(all));
  }
  if (command.json) {
    Json out = {
        {"loss", loss}, {"perplexity", std::exp(loss)}, {"tokens", targets}, {"step", open.step}};
    if (bpb > 0) out["bits_per_byte"] = bpb;
    if (xz > 0) out["xz_bits_per_byte"] = xz;
    std::printf("%s\n", out.dump().c_str());
  } else {
    std::string text = "step " + std::to_string(open.step) + "  loss " + fixed(loss, 4) +
                       "  perplexity " + fixed(std::exp(loss), 2);
    if (bpb > 0) text += "  bits/byte " + fixed(bpb, 3) + " (xz -9e " + fixed(xz, 2) + ")";
    std::printf("%s  over %lld tokens of %s\n", text.c_str(), static_cast<long long>(targets),
                prefix.c_str());
  }
  return 0;
}

int run_eval(const EvalCommand& command) {
  PosixStorage storage;
  OpenModel open = open_model(storage, command.checkpoint,
                              {.overrides = command.overrides,
                               .allow_changed = command.allow_changed,
                               .reads_text = command.tokens.empty()});
  return command.tokens.empty() ? eval_data(command, open) : eval_tokens(command, open);
}

}  // namespace

Verb eval_verb() {
  const auto c = std::make_shared<EvalCommand>();
  return {.name = "eval",
          .help = "loss of a checkpoint on data or on token ids",
          .flags = {model_row(c->checkpoint),
                    overrides_row(c->overrides),
                    {"--data", &c->data, "PREFIX (default: the recipe's validation)"},
                    {"--tokens", &c->tokens, "JSON file with lists of token ids"},
                    {"--logits",
                     &c->logits,
                     "with --tokens: safetensors file to write",
                     {},
                     {.needs = "--tokens"}},
                    json_row(c->json),
                    allow_changed_row(c->allow_changed)},
          .run = [c] { return run_eval(*c); }};
}

}  // namespace tessera
