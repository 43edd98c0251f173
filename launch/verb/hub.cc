// SPDX-License-Identifier: Apache-2.0
// `tessera checkpoint export` and `import`: to Hugging Face and back.
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>

#include <nlohmann/json.hpp>

#include "launch/new_step.h"
#include "launch/open_checkpoint.h"
#include "launch/recipe/scalar.h"
#include "launch/report/format.h"
#include "launch/report/progress.h"
#include "launch/run/made_with.h"
#include "launch/verb/common_flags.h"
#include "launch/verb/verbs.h"
#include "launch/version.h"
#include "trainer/hub/transfer.h"

namespace tessera {
namespace {

struct ExportCommand {
  std::string checkpoint;
  std::string output;     // directory to make
  std::string to = "hf";  // the only form
  std::string dtype = "bf16";
  std::string max_shard = "5GB";
  std::string allow_changed;  // a list of what may differ (run/made_with.h)
  bool json = false;
};

struct ImportCommand {
  std::string directory;  // with config.json
  std::string output;     // directory of steps to write into
  bool json = false;
  bool take_over = false;
};

using Json = nlohmann::ordered_json;

// "5GB", "500MB", "1000000"
int64_t bytes_of(std::string text) {
  if (text.ends_with("B")) text.pop_back();
  if (text.ends_with("G")) text.back() = 'B';  // a recipe's word for 10^9
  try {
    const int64_t bytes = parse_integer(text);
    check(bytes > 0, ErrorKind::usage, "--max-shard: must be above 0");
    return bytes;
  } catch (const ScalarError& error) {
    fail(ErrorKind::usage, std::string("--max-shard: ") + error.what());
  }
}

// The result is empty for a tokenizer.json that Tessera cannot read: the weights can be imported
// without it.
std::string hash_of_tokenizer(const std::string& path) {
  if (path.empty()) return "";
  try {
    return Tokenizer::load(path).hash();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::data) throw;
    return "";
  }
}

int run_export(const ExportCommand& command) {
  PosixStorage storage;
  CheckpointReader from =
      CheckpointReader::open(storage, resolve_checkpoint(storage, command.checkpoint));
  const Recipe recipe =
      parse_recipe(from.recipe(), from.directory() + "/manifest.json (recipe)", {}, 0).recipe;
  warn_of_group_rule(from, recipe.model);
  HubExport options{.directory = command.output,
                    .dtype = dtype_named(command.dtype).value(),
                    .max_shard = bytes_of(command.max_shard),
                    .tokenizer = ""};
  if (!recipe.data.tokenizer.empty() && std::filesystem::exists(recipe.data.tokenizer))
    options.tokenizer = recipe.data.tokenizer;
  check_tokenizer(from, recipe, command.allow_changed);
  ModelOptions model = recipe.model;
  if (model.max_position_embeddings == 0)
    model.max_position_embeddings = recipe.data.sequence_length;
  int64_t bytes = 0;
  for (const GlobalTensor& tensor : from.tensors())
    if (tensor.role == "param")
      bytes += tensor.bytes() / size_of(DType::f32) * size_of(options.dtype);
  ProgressLine line("export", bytes);
  const HubReport report =
      export_to_hub(from, model, options, [&](int64_t done) { line.at(done); });
  line.finish();
  if (command.json)
    std::printf("%s\n", Json{{"directory", command.output},
                             {"tensors", report.tensors},
                             {"bytes", report.bytes},
                             {"files", report.files}}
                            .dump()
                            .c_str());
  else
    std::printf("%s  %lld tensors of step %lld, %s in %d file%s%s\n", command.output.c_str(),
                static_cast<long long>(report.tensors),
                static_cast<long long>(from.manifest().step),
                as_bytes(static_cast<double>(report.bytes)).c_str(), report.files,
                report.files > 1 ? "s" : "",
                options.tokenizer.empty() ? "; no tokenizer.json, its file is not there" : "");
  return 0;
}

int run_import(const ImportCommand& command) {
  PosixStorage storage;
  check(is_hub_model(storage, command.directory), ErrorKind::checkpoint,
        command.directory + " holds no config.json");
  HubModel hub = HubModel::open(storage, command.directory);
  const LoadedRecipe loaded = recipe_of_hub(hub, {});
  const std::string recipe =
      resolved_yaml(loaded, {version_string() + ", imported from " + command.directory});
  DataSummary data;
  data.tokenizer = hash_of_tokenizer(loaded.recipe.data.tokenizer);
  const auto lease = hold_for_new_step(storage, command.output, 0, command.take_over);
  std::optional<ProgressLine> line;
  const SaveReport report = import_from_hub(
      storage, hub, command.output, recipe,
      [&](int64_t done, int64_t of) {
        if (!line) line.emplace("import", of);
        line->at(done);
      },
      lease.get(), scalars_of(made_with(loaded.recipe, data)));
  if (line) line->finish();
  if (command.json)
    std::printf("%s\n",
                Json{{"directory", report.directory}, {"bytes", report.bytes}}.dump().c_str());
  else
    std::printf("%s  weights of %s, %s\n", report.directory.c_str(), command.directory.c_str(),
                as_bytes(static_cast<double>(report.bytes)).c_str());
  return 0;
}

}  // namespace

Verb export_verb() {
  const auto c = std::make_shared<ExportCommand>();
  const FlagTraits shown{.shows_default = true};
  return {.name = "export",
          .help = "write the weights as Hugging Face keeps them",
          .flags = {checkpoint_row(c->checkpoint),
                    {"-o,--output", &c->output, "directory to make", {}, {.required = true}},
                    {"--to", &c->to, "form", OneOf{{"hf"}}, shown},
                    {"--dtype", &c->dtype, "of the weights", OneOf{names_of<ComputeType>()}, shown},
                    {"--max-shard", &c->max_shard, "bytes of a file, e.g. 500MB", {}, shown},
                    json_row(c->json),
                    allow_changed_row(c->allow_changed)},
          .run = [c] { return run_export(*c); }};
}

Verb import_verb() {
  const auto c = std::make_shared<ImportCommand>();
  const FlagTraits required{.required = true};
  return {.name = "import",
          .help = "a checkpoint of a Hugging Face model's weights",
          .flags = {{"directory", &c->directory, "with config.json and safetensors", {}, required},
                    {"-o,--output", &c->output, "directory of steps to write into", {}, required},
                    json_row(c->json),
                    take_over_row(c->take_over)},
          .run = [c] { return run_import(*c); }};
}

}  // namespace tessera
