// SPDX-License-Identifier: Apache-2.0
// The verbs of the command line: what each was asked (filled by cli.cc), and the function that does
// it and returns the exit code. Results go to standard output, everything else to standard error.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tessera {

struct TrainCommand {
  std::string recipe;
  std::vector<std::string> overrides;
  std::string resume = "auto";  // auto | none | PATH
  std::string init_from;
  std::string run_dir;  // "" = runs/NAME
  bool check_only = false;
  bool take_over = false;     // the directories are taken although another job seems to hold them
  std::string allow_changed;  // a list of what may differ from the checkpoint (run/made_with.h)
  int64_t stop_after = 0;     // step at which this job ends, the schedule unchanged; 0: run.steps
  int verbosity = 0;          // -q: -1, -v: 1
};
int train_verb(const TrainCommand& command);

struct LaunchCommand {
  TrainCommand train;        // what each rank is to do
  std::optional<int> ranks;  // absent: as many as the recipe's layout names
  bool dry_run = false;      // print the command line only
};
int launch_verb(const LaunchCommand& command);

struct VerifyCommand {
  std::string recipe;
  std::vector<std::string> overrides;
  std::string layouts;          // 'tensor=2; pipeline=2,schedule=zb_h1'; "": a covering array
  std::string devices = "cpu";  // or cpu,cuda: each layout on each of them
  int64_t steps = 3;
  bool json = false;
  std::optional<int> ranks;  // start so many on this machine; absent: the job this process is in
};
int verify_verb(const VerifyCommand& command);

struct PlanCommand {
  std::string recipe;
  std::vector<std::string> overrides;
  int ranks = 0;  // 0: as few as the layout needs
  std::string device = "cpu";
  std::string picture;  // SVG file to write
  bool json = false;
};
int plan_verb(const PlanCommand& command);

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
int data_prepare_verb(const DataPrepareCommand& command);

struct DataInspectCommand {
  std::string prefix;
  std::string tokenizer;
  int64_t samples = 0;
  int64_t document = -1;
  bool json = false;
};
int data_inspect_verb(const DataInspectCommand& command);
int data_verify_verb(const DataInspectCommand& command);

struct DataConvertCommand {
  std::string from, from_format, to, to_format = "megatron", tokenizer;
};
int data_convert_verb(const DataConvertCommand& command);

struct TokenizerCommand {
  std::string tokenizer;
  std::vector<std::string> inputs;
  int64_t vocab_size = 0;
  std::string output;
  std::string text;  // to encode; "" = standard input
};
int tokenizer_train_verb(const TokenizerCommand& command);
int tokenizer_encode_verb(const TokenizerCommand& command);
int tokenizer_decode_verb(const TokenizerCommand& command);

struct CheckpointCommand {
  std::string path;
  std::string other;
  bool json = false;
  std::string keep;
  bool quarantine = false;  // prune-old: what was set aside, too
  bool take_over = false;   // prune-old: as in TrainCommand
};
int checkpoint_list_verb(const CheckpointCommand& command);
int checkpoint_inspect_verb(const CheckpointCommand& command);
int checkpoint_verify_verb(const CheckpointCommand& command);
int checkpoint_diff_verb(const CheckpointCommand& command);
int checkpoint_prune_verb(const CheckpointCommand& command);

struct ReshardCommand {
  std::string checkpoint;
  std::string output;  // directory of steps to write into
  std::vector<std::string> overrides;
  std::optional<int> ranks;  // absent: as many as the layout names
  bool json = false;
  bool take_over = false;
};
int checkpoint_reshard_verb(const ReshardCommand& command);

struct ExportCommand {
  std::string checkpoint;
  std::string output;     // directory to make
  std::string to = "hf";  // the only form
  std::string dtype = "bf16";
  std::string max_shard = "5GB";
  std::string allow_changed;  // as in TrainCommand
  bool json = false;
};
int checkpoint_export_verb(const ExportCommand& command);

struct ImportCommand {
  std::string directory;  // with config.json
  std::string output;     // directory of steps to write into
  bool json = false;
  bool take_over = false;
};
int checkpoint_import_verb(const ImportCommand& command);

struct RecipeCommand {
  std::string path;
  std::vector<std::string> overrides;
  int ranks = 0;
};
int recipe_check_verb(const RecipeCommand& command);
int recipe_show_verb(const RecipeCommand& command);
int recipe_list_verb(const RecipeCommand& command);
int recipe_schema_verb();
int recipe_keys_verb();

struct EvalCommand {
  std::string checkpoint;
  std::string data;
  std::string tokens;  // JSON file of token id lists
  std::string logits;  // safetensors file to write
  std::vector<std::string> overrides;
  std::string allow_changed;  // as in TrainCommand
  bool json = false;
};
int eval_verb(const EvalCommand& command);

struct GenerateCommand {
  std::string checkpoint;
  std::string prompt;
  int64_t max_tokens = 200;
  double temperature = 0.8;
  double top_p = 0.95;
  uint64_t seed = 42;
  bool stream = false;
  std::string allow_changed;  // as in TrainCommand
};
int generate_verb(const GenerateCommand& command);

struct BenchCommand {
  std::string what;            // gemm | attention | adamw | allreduce | io | step
  std::string dtype = "bf16";  // f32 | bf16 | f16 | tf32: f32 with precision.tf32 (gemm, step)
  std::string device = "cpu";  // cpu | cuda
  // Of `gemm`, `attention` and `step`; shaped: one of them was asked for.
  int64_t batch = 4;
  int64_t sequence = 1024;
  bool shaped = false;
  int rounds = 5;
  // For `bench step`: the microbatches of each step, every one of `batch` sequences.
  int64_t microbatches = 1;
  // Of `step`. Where `recipe` is empty, a dense decoder of 124M parameters.
  std::string recipe;
  std::vector<std::string> overrides;
  // Of `io`: where; of each rank's part. Empty, 0: here, 256.
  std::string directory;
  int64_t mebibytes = 0;
  std::string compare;  // a file that --json wrote before; empty: none
  bool json = false;
};
int bench_verb(const BenchCommand& command);

int doctor_verb(bool json, bool look_at_gpus);
int version_verb();

// version.cc: "tessera 0.1.0", and what this build is made of.
std::string version_string();
std::string build_description();

}  // namespace tessera
