// SPDX-License-Identifier: Apache-2.0
// `tessera data prepare|inspect|verify|convert`.
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>

#include <nlohmann/json.hpp>

#include "data/convert.h"
#include "data/inspect.h"
#include "data/prepare.h"
#include "kernels/base/log.h"
#include "launch/report/format.h"
#include "launch/report/progress.h"
#include "launch/verb/common_flags.h"
#include "launch/verb/verbs.h"

namespace tessera {
namespace {

struct DataPrepareCommand {
  std::vector<std::string> inputs;
  std::string output;
  std::string tokenizer = "train:8192";
  std::string format = "auto";
  std::string text_key = "text";
  std::string separator;
  std::vector<double> split = {0.98, 0.02};
  int workers = 0;
  std::string dedup;
};

struct DataInspectCommand {
  std::string prefix;
  std::string tokenizer;
  int64_t samples = 0;
  int64_t document = -1;
  bool json = false;
};

struct DataConvertCommand {
  std::string from, from_format, to, to_format = "megatron", tokenizer;
};

using Json = nlohmann::ordered_json;

// The tokenizer named, or the one that prepare wrote beside the token files.
std::optional<Tokenizer> tokenizer_for(const DataInspectCommand& command) {
  if (!command.tokenizer.empty()) return Tokenizer::load(command.tokenizer);
  const auto beside = std::filesystem::path(command.prefix).parent_path() / "tokenizer.json";
  if (std::filesystem::exists(beside)) return Tokenizer::load(beside.string());
  return std::nullopt;
}

void show_document(const TokenFile& file, const Tokenizer& tokenizer, int64_t document) {
  constexpr int64_t kShownTokens = 200;
  const DocumentView view = view_document(file, tokenizer, document, kShownTokens);
  std::printf("--- document %lld: %lld tokens from token %lld%s%s\n%s%s\n",
              static_cast<long long>(document), static_cast<long long>(view.num_tokens),
              static_cast<long long>(view.first_token), view.origin.source.empty() ? "" : ", from ",
              view.origin.source.c_str(), view.text.c_str(), view.shortened ? " ..." : "");
}

int run_prepare(const DataPrepareCommand& command) {
  PrepareOptions options;
  options.inputs = command.inputs;
  options.output = command.output;
  options.tokenizer = command.tokenizer;
  options.split = command.split;
  options.format = command.format;
  options.text_key = command.text_key;
  options.document_separator = command.separator;
  options.workers = command.workers;
  options.dedup_exact = command.dedup == "exact";
  std::string stage;
  std::unique_ptr<ProgressLine> line;
  options.progress = [&](const PrepareProgress& progress) {
    if (progress.stage != stage) {
      stage = progress.stage;
      line = std::make_unique<ProgressLine>("data prepare: " + stage, progress.total);
    }
    line->at(progress.done);
  };
  const PrepareReport report = prepare(options);
  line.reset();
  log::info("tokenizer " + report.tokenizer + "  " + std::to_string(report.vocab_size) +
            " tokens  " + report.tokenizer_hash.substr(0, 15) + "...");
  for (const PrepareReport::Split& split : report.splits)
    log::info(split.prefix + "  " + std::to_string(split.documents) + " document(s)  " +
              with_prefix(static_cast<double>(split.tokens)) + " tokens of " +
              as_bytes(static_cast<double>(split.bytes)) + " text (" +
              fixed(static_cast<double>(split.bytes) /
                        static_cast<double>(std::max<int64_t>(1, split.tokens)),
                    2) +
              " bytes/token)");
  log::info(report.up_to_date
                ? "nothing to do: inputs and options are those of the last time"
                : "prepared " + std::to_string(report.inputs) + " input(s), " +
                      as_bytes(static_cast<double>(report.input_bytes)) + ", in " +
                      as_duration(report.seconds) +
                      (report.duplicates > 0
                           ? "; left out " + std::to_string(report.duplicates) + " duplicate(s)"
                           : ""));
  return 0;
}

int run_inspect(const DataInspectCommand& command) {
  const TokenFile file = TokenFile::open(command.prefix);
  const TokenFileInfo& info = file.info();
  const auto tokenizer = tokenizer_for(command);
  const bool wants_text = command.samples > 0 || command.document >= 0;
  check(!wants_text || tokenizer, ErrorKind::usage,
        "to show text, give --tokenizer FILE (there is no tokenizer.json beside " + command.prefix +
            ")");
  if (command.json) {
    Json sources = Json::array();
    for (const TokenFileSource& source : info.sources)
      sources.push_back({{"path", source.path},
                         {"sha256", source.sha256},
                         {"bytes", source.bytes},
                         {"documents", source.documents},
                         {"tokens", source.tokens}});
    std::printf("%s\n", Json{{"prefix", command.prefix},
                             {"tokens", file.num_tokens()},
                             {"documents", file.num_documents()},
                             {"bytes", info.bytes},
                             {"vocab_size", info.vocab_size},
                             {"tokenizer", info.tokenizer_hash},
                             {"sources", sources}}
                            .dump()
                            .c_str());
    return 0;
  }
  std::printf("%s  %lld tokens in %lld document(s)", command.prefix.c_str(),
              static_cast<long long>(file.num_tokens()),
              static_cast<long long>(file.num_documents()));
  if (info.bytes > 0)
    std::printf("  %s of text (%s bytes/token)", as_bytes(static_cast<double>(info.bytes)).c_str(),
                fixed(static_cast<double>(info.bytes) /
                          static_cast<double>(std::max<int64_t>(1, file.num_tokens())),
                      2)
                    .c_str());
  std::printf("\ntokenizer %s  vocabulary %lld\n",
              info.tokenizer_hash.empty() ? "not recorded" : info.tokenizer_hash.c_str(),
              static_cast<long long>(info.vocab_size));
  std::vector<std::vector<std::string>> rows = {{"source", "documents", "tokens", "size"}};
  for (const TokenFileSource& source : info.sources)
    rows.push_back({source.path, std::to_string(source.documents), std::to_string(source.tokens),
                    as_bytes(static_cast<double>(source.bytes))});
  if (rows.size() > 1) std::fputs(table(rows).c_str(), stdout);
  if (command.document >= 0) show_document(file, *tokenizer, command.document);
  if (command.samples > 0)
    for (const int64_t document : sample_documents(file, command.samples))
      show_document(file, *tokenizer, document);
  return 0;
}

int run_verify(const DataInspectCommand& command) {
  const auto tokenizer = tokenizer_for(command);
  const VerifyReport report = verify_token_file(
      command.prefix, {.tokenizer = tokenizer ? &*tokenizer : nullptr, .sources = true});
  for (const std::string& problem : report.problems) std::printf("%s\n", problem.c_str());
  if (!report.problems.empty()) return exit_code(ErrorKind::data);
  std::printf("%s  verified: %lld tokens in %lld document(s), %lld source(s) unchanged\n",
              command.prefix.c_str(), static_cast<long long>(report.tokens),
              static_cast<long long>(report.documents),
              static_cast<long long>(report.sources_checked));
  return 0;
}

int run_convert(const DataConvertCommand& command) {
  std::optional<Tokenizer> tokenizer;
  if (!command.tokenizer.empty()) tokenizer = Tokenizer::load(command.tokenizer);
  const ConvertReport report =
      convert_tokens({.from = command.from,
                      .from_format = token_format_named(command.from_format),
                      .to = command.to,
                      .to_format = token_format_named(command.to_format),
                      .tokenizer = tokenizer ? &*tokenizer : nullptr});
  log::info(command.to + "  " + std::to_string(report.tokens) + " tokens in " +
            std::to_string(report.documents) + " document(s)");
  return 0;
}

Verb prepare_verb() {
  const auto c = std::make_shared<DataPrepareCommand>();
  const FlagTraits required{.required = true}, shown{.shows_default = true};
  return {
      .name = "prepare",
      .help = "text -> tokenizer and token files",
      .flags =
          {{"--input", &c->inputs, "text or JSONL files (.gz, .zst), globs allowed", {}, required},
           {"-o,--output", &c->output, "directory for train, validation, tokenizer", {}, required},
           {"--tokenizer", &c->tokenizer, "FILE | train:VOCAB | bytes | chars", {}, shown},
           {"--format", &c->format, "auto: by name | text | jsonl, for all inputs",
            OneOf{{"auto", "text", "jsonl"}}, shown},
           {"--text-key", &c->text_key, "field of a JSONL line", {}, shown},
           {"--document-separator", &c->separator,
            "cut plain text into documents at this line (default: a file is one)"},
           {"--split",
            &c->split,
            "shares of train and validation",
            {},
            {.shows_default = true, .separator = ','}},
           {"--workers", &c->workers, "threads; 0: all cores", Whole{0, INT16_MAX}, shown},
           {"--dedup", &c->dedup, "exact: drop documents seen before", OneOf{{"exact"}}}},
      .run = [c] { return run_prepare(*c); }};
}

Verb look_verb(const char* name, const char* help, int (*run)(const DataInspectCommand&),
               bool shows_documents) {
  const auto c = std::make_shared<DataInspectCommand>();
  Verb verb{
      .name = name,
      .help = help,
      .flags =
          {{"prefix", &c->prefix, "PREFIX of PREFIX.bin and PREFIX.idx", {}, {.required = true}},
           {"--tokenizer", &c->tokenizer, "tokenizer.json (default: beside)"},
           json_row(c->json)},
      .run = [c, run] { return run(*c); }};
  if (!shows_documents) return verb;
  verb.flags.push_back({"--sample", &c->samples, "documents to show, decoded", Whole{0}});
  verb.flags.push_back({"--doc", &c->document, "one document, decoded", Whole{0}});
  return verb;
}

Verb convert_verb() {
  const auto c = std::make_shared<DataConvertCommand>();
  const FlagTraits required{.required = true};
  return {
      .name = "convert",
      .help = "token files of nanoGPT and llm.c, in and out",
      .flags =
          {{"from", &c->from, "file, or PREFIX for megatron", {}, required},
           {"to", &c->to, "file, or PREFIX for megatron", {}, required},
           {"--from-format", &c->from_format, "megatron | nanogpt | llmc", {}, required},
           {"--to-format", &c->to_format, "megatron | nanogpt | llmc", {}, {.shows_default = true}},
           {"--tokenizer", &c->tokenizer, "needed to write megatron"}},
      .run = [c] { return run_convert(*c); }};
}

}  // namespace

Verb data_verb() {
  return {.name = "data",
          .help = "prepare and look at token files",
          .verbs = {prepare_verb(),
                    look_verb("inspect", "counts, sources and decoded samples", run_inspect, true),
                    look_verb("verify", "read every token; compare with what was recorded",
                              run_verify, false),
                    convert_verb()}};
}

}  // namespace tessera
