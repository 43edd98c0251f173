// SPDX-License-Identifier: Apache-2.0
#include "launch/verb/cli.h"

#include <cstdio>
#include <functional>

#include <CLI/CLI.hpp>

#include "kernels/base/check.h"
#include "kernels/base/log.h"
#include "launch/failure.h"
#include "launch/job/signals.h"
#include "launch/recipe/scalar.h"
#include "launch/report/console.h"
#include "launch/run/made_with.h"
#include "launch/verb/completion.h"
#include "launch/verb/verbs.h"

namespace tessera {
namespace {

VerbNode verb_tree_of(const CLI::App& app) {
  VerbNode node{app.get_name(), app.get_description(), {}, {}};
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) node.flags.push_back("--" + name);
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; }))
    node.verbs.push_back(verb_tree_of(*sub));
  return node;
}

// Accepts a whole number as recipes write it (1e3, 64Ki, 1K), from `least` to `most`.
CLI::Validator whole(int64_t least, int64_t most = INT64_MAX) {
  return CLI::Validator(
      [=](std::string& text) -> std::string {
        try {
          const int64_t value = parse_integer(text);
          if (value < least) return "must be at least " + std::to_string(least) + ", got " + text;
          if (value > most) return "must be at most " + std::to_string(most) + ", got " + text;
          text = std::to_string(value);
          return "";
        } catch (const ScalarError& error) {
          return error.what();
        }
      },
      "");
}

CLI::Validator number(double least, double most) {
  return CLI::Validator(
      [=](std::string& text) -> std::string {
        try {
          const double value = parse_number(text);
          const bool inside = value >= least && value <= most;  // false for nan
          return inside ? ""
                        : "must be from " + format_number(least) + " to " + format_number(most) +
                              ", got " + text;
        } catch (const ScalarError& error) {
          return error.what();
        }
      },
      "");
}

constexpr int64_t kMostRanks = int64_t{1} << 20;

// The chosen verb, run after parsing.
using VerbAction = std::function<int()>;

void add_take_over(CLI::App& verb, bool& take_over) {
  verb.add_flag("--take-over", take_over,
                "write although another job seems to hold the directory; for one that is gone");
}

void add_allow_changed(CLI::App& verb, std::string& list) {
  verb.add_option("--allow-changed", list,
                  "go on although these differ from what the checkpoint was made with: a list of "
                  "model, tokenizer, data")
      ->check(CLI::Validator(
          [](const std::string& text) -> std::string {
            try {
              parse_allowed(text);
              return "";
            } catch (const Error& error) {
              return error.what();
            }
          },
          ""));
}

void add_train_options(CLI::App& verb, TrainCommand& command) {
  verb.add_option("recipe", command.recipe, "recipe file")->required();
  verb.add_option("overrides", command.overrides, "key=value ...");
  verb.add_option("--resume", command.resume, "auto | none | PATH of a checkpoint")
      ->capture_default_str();
  verb.add_option("--init-from", command.init_from,
                  "weights of this checkpoint or Hugging Face directory, fresh optimizer");
  verb.add_option("--run-dir", command.run_dir, "where the run's files go (runs/NAME)");
  verb.add_option("--steps", command.stop_after,
                  "end after this step; the schedule stays that of run.steps")
      ->transform(whole(1));
  verb.add_flag("--check", command.check_only, "check everything, train nothing");
  add_allow_changed(verb, command.allow_changed);
  add_take_over(verb, command.take_over);
  verb.add_flag_callback(
      "-q,--quiet", [&command] { command.verbosity = -1; }, "warnings only");
  verb.add_flag_callback(
      "-v,--verbose", [&command] { command.verbosity = 1; }, "say more");
}

void add_train(CLI::App& app, VerbAction& action) {
  auto* verb = app.add_subcommand("train", "train a recipe; joins the mpirun or srun job it is in");
  auto command = std::make_shared<TrainCommand>();
  add_train_options(*verb, *command);
  verb->callback([command, &action] { action = [command] { return train_verb(*command); }; });

  auto* launch = app.add_subcommand("launch", "train a recipe on several ranks of this machine");
  auto job = std::make_shared<LaunchCommand>();
  add_train_options(*launch, job->train);
  launch->add_option("-n,--ranks", job->ranks, "default: what the recipe's layout needs")
      ->transform(whole(1, kMostRanks));
  launch->add_flag("--dry-run", job->dry_run, "print the command line, start nothing");
  launch->callback([job, &action] { action = [job] { return launch_verb(*job); }; });
}

void add_plan(CLI::App& app, VerbAction& action) {
  auto* verb = app.add_subcommand("plan", "what a recipe needs on a number of ranks; runs nothing");
  auto command = std::make_shared<PlanCommand>();
  verb->add_option("recipe", command->recipe, "recipe file")->required();
  verb->add_option("overrides", command->overrides, "key=value ...");
  verb->add_option("-n,--ranks", command->ranks, "default: as few as the layout needs")
      ->transform(whole(1, kMostRanks));
  verb->add_option("--device", command->device,
                   "whose memory: cpu | h200-141g | h100-80g | a100-80g")
      ->capture_default_str();
  verb->add_option("--picture", command->picture, "SVG file to draw the pipeline into");
  verb->add_flag("--json", command->json, "machine-readable");
  verb->callback([command, &action] { action = [command] { return plan_verb(*command); }; });
}

void add_convert(CLI::App& data, VerbAction& action) {
  auto* convert = data.add_subcommand("convert", "token files of nanoGPT and llm.c, in and out");
  auto command = std::make_shared<DataConvertCommand>();
  convert->add_option("from", command->from, "file, or PREFIX for megatron")->required();
  convert->add_option("to", command->to, "file, or PREFIX for megatron")->required();
  convert->add_option("--from-format", command->from_format, "megatron | nanogpt | llmc")
      ->required();
  convert->add_option("--to-format", command->to_format, "megatron | nanogpt | llmc")
      ->capture_default_str();
  convert->add_option("--tokenizer", command->tokenizer, "needed to write megatron");
  convert->callback(
      [command, &action] { action = [command] { return data_convert_verb(*command); }; });
}

void add_data(CLI::App& app, VerbAction& action) {
  auto* data = app.add_subcommand("data", "prepare and look at token files");
  data->require_subcommand(1);
  auto* prepare = data->add_subcommand("prepare", "text -> tokenizer and token files");
  auto command = std::make_shared<DataPrepareCommand>();
  prepare->add_option("--input", command->inputs, "text or JSONL files (.gz, .zst), globs allowed")
      ->required();
  prepare->add_option("-o,--output", command->output, "directory for train, validation, tokenizer")
      ->required();
  prepare->add_option("--tokenizer", command->tokenizer, "FILE | train:VOCAB | bytes | chars")
      ->capture_default_str();
  prepare->add_option("--format", command->format, "auto: by name | text | jsonl, for all inputs")
      ->check(CLI::IsMember({"auto", "text", "jsonl"}))
      ->capture_default_str();
  prepare->add_option("--text-key", command->text_key, "field of a JSONL line")
      ->capture_default_str();
  prepare->add_option("--document-separator", command->separator,
                      "cut plain text into documents at this line (default: a file is one)");
  prepare->add_option("--split", command->split, "shares of train and validation")
      ->delimiter(',')
      ->capture_default_str();
  prepare->add_option("--workers", command->workers, "threads; 0: all cores")
      ->transform(whole(0, INT16_MAX))
      ->capture_default_str();
  prepare->add_option("--dedup", command->dedup, "exact: drop documents seen before")
      ->check(CLI::IsMember({"exact"}));
  prepare->callback(
      [command, &action] { action = [command] { return data_prepare_verb(*command); }; });

  auto inspect_command = std::make_shared<DataInspectCommand>();
  const auto common = [&](CLI::App* verb) {
    verb->add_option("prefix", inspect_command->prefix, "PREFIX of PREFIX.bin and PREFIX.idx")
        ->required();
    verb->add_option("--tokenizer", inspect_command->tokenizer, "tokenizer.json (default: beside)");
    verb->add_flag("--json", inspect_command->json, "machine-readable");
  };
  auto* inspect = data->add_subcommand("inspect", "counts, sources and decoded samples");
  common(inspect);
  inspect->add_option("--sample", inspect_command->samples, "documents to show, decoded")
      ->transform(whole(0));
  inspect->add_option("--doc", inspect_command->document, "one document, decoded")
      ->transform(whole(0));
  inspect->callback([inspect_command, &action] {
    action = [inspect_command] { return data_inspect_verb(*inspect_command); };
  });
  auto* verify = data->add_subcommand("verify", "read every token; compare with what was recorded");
  common(verify);
  verify->callback([inspect_command, &action] {
    action = [inspect_command] { return data_verify_verb(*inspect_command); };
  });
  add_convert(*data, action);
}

void add_tokenizer(CLI::App& app, VerbAction& action) {
  auto* tokenizer = app.add_subcommand("tokenizer", "train and use tokenizers");
  tokenizer->require_subcommand(1);
  auto command = std::make_shared<TokenizerCommand>();
  auto* train = tokenizer->add_subcommand("train", "byte-level BPE from text");
  train->add_option("--input", command->inputs, "text or JSONL files (.gz, .zst)")
      ->required()
      ->check(CLI::ExistingFile);
  train->add_option("--vocab", command->vocab_size, "tokens")
      ->required()
      ->transform(whole(1, INT32_MAX));
  train->add_option("-o,--output", command->output, "tokenizer.json (Hugging Face)")->required();
  train->callback(
      [command, &action] { action = [command] { return tokenizer_train_verb(*command); }; });
  auto* encode = tokenizer->add_subcommand("encode", "text -> ids");
  encode->add_option("tokenizer", command->tokenizer, "tokenizer.json")->required();
  encode->add_option("text", command->text, "default: standard input");
  encode->callback(
      [command, &action] { action = [command] { return tokenizer_encode_verb(*command); }; });
  auto* decode = tokenizer->add_subcommand("decode", "ids -> text");
  decode->add_option("tokenizer", command->tokenizer, "tokenizer.json")->required();
  decode->add_option("ids", command->text, "default: standard input");
  decode->callback(
      [command, &action] { action = [command] { return tokenizer_decode_verb(*command); }; });
}

void add_reshard(CLI::App& checkpoint, VerbAction& action) {
  auto* verb = checkpoint.add_subcommand("reshard", "rewrite a checkpoint for other ranks");
  auto command = std::make_shared<ReshardCommand>();
  verb->add_option("path", command->checkpoint, "run directory, checkpoints directory or step")
      ->required();
  verb->add_option("overrides", command->overrides, "parallel.key=value ... of the new layout");
  verb->add_option("-o,--output", command->output, "directory of steps; no run may be saving there")
      ->required();
  verb->add_option("-n,--ranks", command->ranks, "default: what the layout names")
      ->transform(whole(1, kMostRanks));
  add_take_over(*verb, command->take_over);
  verb->add_flag("--json", command->json, "machine-readable");
  verb->callback(
      [command, &action] { action = [command] { return checkpoint_reshard_verb(*command); }; });
}

void add_hub(CLI::App& checkpoint, VerbAction& action) {
  auto* out = checkpoint.add_subcommand("export", "write the weights as Hugging Face keeps them");
  auto from = std::make_shared<ExportCommand>();
  out->add_option("path", from->checkpoint, "run directory, checkpoints directory or step")
      ->required();
  out->add_option("-o,--output", from->output, "directory to make")->required();
  out->add_option("--to", from->to, "form")->check(CLI::IsMember({"hf"}))->capture_default_str();
  out->add_option("--dtype", from->dtype, "of the weights")
      ->check(CLI::IsMember({"f32", "bf16", "f16"}))
      ->capture_default_str();
  out->add_option("--max-shard", from->max_shard, "bytes of a file, e.g. 500MB")
      ->capture_default_str();
  out->add_flag("--json", from->json, "machine-readable");
  add_allow_changed(*out, from->allow_changed);
  out->callback([from, &action] { action = [from] { return checkpoint_export_verb(*from); }; });
  auto* in = checkpoint.add_subcommand("import", "a checkpoint of a Hugging Face model's weights");
  auto into = std::make_shared<ImportCommand>();
  in->add_option("directory", into->directory, "with config.json and safetensors")->required();
  in->add_option("-o,--output", into->output, "directory of steps to write into")->required();
  in->add_flag("--json", into->json, "machine-readable");
  add_take_over(*in, into->take_over);
  in->callback([into, &action] { action = [into] { return checkpoint_import_verb(*into); }; });
}

void add_checkpoint(CLI::App& app, VerbAction& action) {
  auto* checkpoint = app.add_subcommand("checkpoint", "look at, verify and compare checkpoints");
  checkpoint->alias("ckpt");
  checkpoint->require_subcommand(1);
  auto command = std::make_shared<CheckpointCommand>();
  const auto add = [&](const char* name, const char* help, int (*run)(const CheckpointCommand&)) {
    auto* verb = checkpoint->add_subcommand(name, help);
    verb->add_option("path", command->path, "run directory, checkpoints directory or step")
        ->required();
    verb->add_flag("--json", command->json, "machine-readable");
    verb->callback([command, run, &action] { action = [command, run] { return run(*command); }; });
    return verb;
  };
  add("list", "steps, status, size, layout", checkpoint_list_verb);
  add("inspect", "tensors, boxes and scalars", checkpoint_inspect_verb);
  add("verify", "read and check every byte", checkpoint_verify_verb);
  add("diff", "compare two checkpoints tensor by tensor", checkpoint_diff_verb)
      ->add_option("other", command->other, "the second one")
      ->required();
  add_reshard(*checkpoint, action);
  add_hub(*checkpoint, action);
  auto* prune = add("prune-old", "delete what --keep does not name", checkpoint_prune_verb);
  prune->add_option("--keep", command->keep, "last:N,every:M");
  prune->add_flag("--quarantine", command->quarantine,
                  "delete what was set aside: abandoned, damaged, of a newer format");
  add_take_over(*prune, command->take_over);
}

void add_recipe(CLI::App& app, VerbAction& action) {
  auto* recipe = app.add_subcommand("recipe", "check and show recipes");
  recipe->require_subcommand(1);
  auto command = std::make_shared<RecipeCommand>();
  const auto add = [&](const char* name, const char* help, int (*run)(const RecipeCommand&)) {
    auto* verb = recipe->add_subcommand(name, help);
    verb->add_option("recipe", command->path, "recipe file")->required();
    verb->add_option("overrides", command->overrides, "key=value ...");
    verb->add_option("-n,--ranks", command->ranks, "check the layout on this many ranks")
        ->transform(whole(1, kMostRanks));
    verb->callback([command, run, &action] { action = [command, run] { return run(*command); }; });
  };
  add("check", "all errors of a recipe at once", recipe_check_verb);
  add("show", "every key with its value and origin", recipe_show_verb);
  auto* list = recipe->add_subcommand("list", "the recipes that come with Tessera");
  list->add_option("directory", command->path, "default: the installed ones");
  list->callback([command, &action] { action = [command] { return recipe_list_verb(*command); }; });
  recipe->add_subcommand("keys", "all keys as Markdown tables")->callback([&action] {
    action = recipe_keys_verb;
  });
  recipe->add_subcommand("schema", "JSON Schema for editors")->callback([&action] {
    action = recipe_schema_verb;
  });
}

void add_models(CLI::App& app, VerbAction& action) {
  auto* verify = app.add_subcommand(
      "verify", "train a few steps in many layouts and prove that they compute the same");
  auto proof = std::make_shared<VerifyCommand>();
  verify->add_option("recipe", proof->recipe, "recipe YAML")->required();
  verify->add_option("overrides", proof->overrides, "key=value ...");
  verify
      ->add_option("--layouts", proof->layouts,
                   "'tensor=2; pipeline=2,schedule=zb_h1; data=2,zero=3' (default: layouts for "
                   "the ranks at hand that hold every legal pair of choices)")
      ->check(CLI::Validator(
          [](const std::string& text) -> std::string {
            return text.empty() ? "names no layout; leave it out for the default" : "";
          },
          ""));
  verify->add_option("--devices", proof->devices, "each layout on each of them")
      ->capture_default_str()
      ->check(CLI::IsMember({"cpu", "cuda", "cpu,cuda"}));
  verify->add_option("--steps", proof->steps, "training steps in each layout")
      ->capture_default_str()
      ->transform(whole(1, INT32_MAX));
  verify->add_flag("--json", proof->json, "machine-readable");
  verify->add_option("-n,--ranks", proof->ranks, "start so many ranks on this machine")
      ->transform(whole(1, kMostRanks));
  verify->callback([proof, &action] { action = [proof] { return verify_verb(*proof); }; });

  auto* eval = app.add_subcommand("eval", "loss of a checkpoint on data or on token ids");
  auto evaluate = std::make_shared<EvalCommand>();
  eval->add_option("checkpoint", evaluate->checkpoint, "run, step or Hugging Face directory")
      ->required();
  eval->add_option("overrides", evaluate->overrides, "key=value ...");
  eval->add_option("--data", evaluate->data, "PREFIX (default: the recipe's validation)");
  eval->add_option("--tokens", evaluate->tokens, "JSON file with lists of token ids");
  eval->add_option("--logits", evaluate->logits, "with --tokens: safetensors file to write")
      ->needs("--tokens");
  eval->add_flag("--json", evaluate->json, "machine-readable");
  add_allow_changed(*eval, evaluate->allow_changed);
  eval->callback([evaluate, &action] { action = [evaluate] { return eval_verb(*evaluate); }; });

  auto* generate = app.add_subcommand("generate", "new text from a checkpoint");
  auto make = std::make_shared<GenerateCommand>();
  generate->add_option("checkpoint", make->checkpoint, "run, step or Hugging Face directory")
      ->required();
  generate->add_option("-p,--prompt", make->prompt, "the beginning of the text");
  generate->add_option("--max-tokens", make->max_tokens, "new tokens")
      ->transform(whole(1))
      ->capture_default_str();
  generate->add_option("--temperature", make->temperature, "0: always the likeliest")
      ->check(number(0, 1e6))
      ->capture_default_str();
  generate->add_option("--top-p", make->top_p, "nucleus sampling")
      ->check(number(0, 1))
      ->capture_default_str();
  generate->add_option("--seed", make->seed, "of the sampling")
      ->transform(whole(0))
      ->capture_default_str();
  generate->add_flag("--stream", make->stream, "show tokens as they come");
  add_allow_changed(*generate, make->allow_changed);
  generate->callback([make, &action] { action = [make] { return generate_verb(*make); }; });
}

void add_tools(CLI::App& app, VerbAction& action) {
  auto* doctor = app.add_subcommand("doctor", "what this machine has and lacks");
  auto json = std::make_shared<bool>(false);
  doctor->add_flag("--json", *json, "machine-readable");
  auto gpu = std::make_shared<bool>(false);
  doctor->add_flag("--gpu", *gpu, "open the CUDA plugin and look at each GPU");
  doctor->callback(
      [json, gpu, &action] { action = [json, gpu] { return doctor_verb(*json, *gpu); }; });

  auto* bench =
      app.add_subcommand("bench", "speed of this machine beside what it could do at best");
  auto measure = std::make_shared<BenchCommand>();
  bench->add_option("what", measure->what, "gemm | attention | adamw | allreduce | io | step")
      ->required()
      ->check(CLI::IsMember({"gemm", "attention", "adamw", "allreduce", "io", "step"}));
  bench->add_option("--dtype", measure->dtype, "f32 | bf16 | f16; gemm and step on a GPU also tf32")
      ->check(CLI::IsMember({"f32", "bf16", "f16", "tf32"}))
      ->capture_default_str();
  bench->add_option("-B,--batch", measure->batch, "gemm, attention, step: sequences")
      ->transform(whole(1, INT32_MAX))
      ->capture_default_str();
  bench->add_option("-T,--sequence", measure->sequence, "the same: tokens of a sequence")
      ->transform(whole(1, INT32_MAX))
      ->capture_default_str();
  constexpr int64_t kMostMicrobatches = 1 << 16;
  bench
      ->add_option("--microbatches", measure->microbatches,
                   "step: microbatches of a step, each of --batch sequences")
      ->check(CLI::Range(int64_t{1}, kMostMicrobatches))
      ->capture_default_str();
  bench->add_option("--rounds", measure->rounds, "the median of so many is shown")
      ->transform(whole(1, INT32_MAX))
      ->capture_default_str();
  bench->add_option("recipe", measure->recipe,
                    "step: whose model, router, optimizer and parallel.recompute; default 124M");
  bench->add_option("overrides", measure->overrides, "step: key=value ... of the recipe");
  bench->add_option("--device", measure->device, "cpu | cuda")
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->capture_default_str();
  bench->add_option("--dir", measure->directory, "io: where to write (default: here)")
      ->check(CLI::ExistingDirectory);
  bench->add_option("--mib", measure->mebibytes, "io: MiB of each rank (default: 256)")
      ->transform(whole(1, INT32_MAX));
  bench->add_option("--compare", measure->compare, "what --json wrote before: the ratio to it")
      ->check(CLI::ExistingFile);
  bench->add_flag("--json", measure->json, "machine-readable");
  bench->callback([measure, bench, &action] {
    measure->shaped = bench->count("--batch") + bench->count("--sequence") > 0;
    action = [measure] { return bench_verb(*measure); };
  });

  auto* completion = app.add_subcommand("completion", "print a completion script for a shell");
  auto shell = std::make_shared<std::string>();
  completion->add_option("shell", *shell, "bash | zsh | fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  completion->callback([shell, &app, &action] {
    action = [shell, &app] {
      std::fputs(completion_script(verb_tree_of(app), *shell).c_str(), stdout);
      return 0;
    };
  });
  app.add_subcommand("version", "version and build")->callback([&action] {
    action = version_verb;
  });
}

// CLI11 says of an unknown verb only that one is required.
bool explain_unknown_verb(const CLI::App& app, int argc, char** argv) {
  const CLI::App* at = &app;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (!word.empty() && word[0] == '-') return false;
    const auto verbs = at->get_subcommands([](const CLI::App*) { return true; });
    if (verbs.empty()) return false;
    const CLI::App* next = nullptr;
    std::string nearest;
    int best = 3;
    for (const CLI::App* verb : verbs) {
      if (verb->check_name(word)) next = verb;
      const int edits = edit_distance(word, verb->get_name());
      if (edits < best) {
        best = edits;
        nearest = verb->get_name();
      }
    }
    if (next == nullptr) {
      std::fprintf(
          stderr, "unknown command `%s`%s\n", word.c_str(),
          nearest.empty() ? "; see tessera --help" : (", did you mean `" + nearest + "`?").c_str());
      return true;
    }
    at = next;
  }
  return false;
}

int run(const VerbAction& action) {
  try {
    return action();
  } catch (...) {
    return tell(failure_in_hand());
  }
}

int parse_and_run(int argc, char** argv) {
  CLI::App app("Distributed training of DeepSeek-style language models", "tessera");
  app.require_subcommand(1);
  VerbAction action;
  add_train(app, action);
  add_plan(app, action);
  add_data(app, action);
  add_tokenizer(app, action);
  add_checkpoint(app, action);
  add_recipe(app, action);
  add_models(app, action);
  add_tools(app, action);
  log::set_console(log::Level::info, stderr_wants_colour());
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::CallForAllHelp& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    if (!explain_unknown_verb(app, argc, argv)) app.exit(error, std::cerr, std::cerr);
    return exit_code(ErrorKind::usage);
  }
  if (!app.got_subcommand("train") && !app.got_subcommand("launch")) release_stop_signals();
  return action();
}

}  // namespace

int run_command_line(int argc, char** argv) {
  // The parser, too, takes memory: whatever ends the program, it ends with a code that says why.
  const int code = run([&] { return parse_and_run(argc, argv); });
  return flush_output(code);
}

}  // namespace tessera
