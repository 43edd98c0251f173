// SPDX-License-Identifier: Apache-2.0
// A directory with a small generated text, its token files and a recipe that trains in seconds; and
// the real program, started in it as a person would.
#pragma once

#include <fstream>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "kernels/cpu_path.h"
#include "tests/support/program.h"

namespace tessera {

using Words = std::vector<std::string>;
using Environment = std::vector<std::pair<std::string, std::string>>;

class Workshop {
 public:
  Workshop() {
    write("text.txt", generated_text());
    write("recipe.yaml", recipe());
    const ProgramResult made =
        tessera({"data", "prepare", "--input", "text.txt", "-o", "corpus", "--tokenizer", "bytes",
                 "--split", "0.9,0.1", "--document-separator", "~", "--workers", "1"});
    if (made.exit_code != 0) ADD_FAILURE() << "data prepare: " << made.err;
  }

  std::string operator/(const std::string& name) const { return directory_ / name; }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(directory_ / name, std::ios::binary) << text;
  }

  ProgramOptions options(const Environment& environment = {}) const {
    ProgramOptions options{directory_.path(),
                           {{"OMPI_ALLOW_RUN_AS_ROOT", "1"},
                            {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"},
                            {"OMP_NUM_THREADS", "1"},
                            {"OMP_WAIT_POLICY", "passive"},
                            {"TESSERA_CPU_PATH", ""}}};
    for (const auto& entry : environment) options.environment.push_back(entry);
    return options;
  }
  ProgramResult tessera(Words words, const Environment& environment = {}) const {
    words.insert(words.begin(), TESSERA_BINARY);
    return run_program(words, options(environment), 600);
  }

  // The command that trains recipe.yaml on `ranks` ranks into the run directory `run`.
  static Words train_words(int ranks, const std::string& run, const Words& more) {
    Words words = {
        "mpirun",       "--oversubscribe", "--bind-to",   "none",      "-n", std::to_string(ranks),
        TESSERA_BINARY, "train",           "recipe.yaml", "--run-dir", run};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  ProgramResult train(int ranks, const std::string& run, const Words& more = {},
                      const Environment& environment = {}) const {
    return run_program(train_words(ranks, run, more), options(environment), 600);
  }

  // The lines of metrics.jsonl of one kind; without `kind`, all.
  std::vector<nlohmann::json> metrics(const std::string& run, const std::string& kind = "") const {
    std::vector<nlohmann::json> lines;
    std::ifstream in(directory_ / run + "/metrics.jsonl");
    for (std::string line; std::getline(in, line);) {
      if (in.eof()) break;  // the writer is at it
      lines.push_back(nlohmann::json::parse(line));
      if (!kind.empty() && lines.back()["kind"] != kind) lines.pop_back();
    }
    return lines;
  }
  // Loss by step; of a step trained twice, the later.
  std::map<int64_t, double> losses(const std::string& run) const {
    std::map<int64_t, double> losses;
    for (const auto& line : metrics(run, "train"))
      losses[line["step"].get<int64_t>()] = line["loss"].get<double>();
    return losses;
  }
  int64_t last_step(const std::string& run) const {
    const auto all = losses(run);
    return all.empty() ? 0 : all.rbegin()->first;
  }
  // False when the process ended before.
  bool wait_for_step(Program& program, const std::string& run, int64_t step) const {
    while (program.running() && last_step(run) < step)
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    return last_step(run) >= step;
  }
  // What `checkpoint diff` says of two runs' newest checkpoints: nothing when they are equal.
  std::string difference(const std::string& a, const std::string& b) const {
    const ProgramResult diff = tessera({"checkpoint", "diff", a, b});
    return diff.exit_code == 0 ? "" : diff.out + diff.err;
  }
  std::string difference_of_losses(const std::string& a, const std::string& b) const {
    const auto left = losses(a), right = losses(b);
    if (left.empty()) return a + " has no metrics";
    std::string text;
    if (left.size() != right.size())
      text = std::to_string(left.size()) + " and " + std::to_string(right.size()) + " steps\n";
    for (const auto& [step, loss] : left)
      if (right.count(step) && right.at(step) != loss)
        text += "step " + std::to_string(step) + ": " + nlohmann::json(loss).dump() + " and " +
                nlohmann::json(right.at(step)).dump() + "\n";
    return text;
  }

 private:
  // Words of an invented language, so that there is something to learn; the same everywhere.
  static std::string generated_text() {
    const std::vector<std::string> syllables = {"ka", "lo", "mi", "ten", "su", "ra", "vel", "no"};
    uint64_t state = 12345;
    const auto draw = [&](uint64_t below) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      return (state >> 33) % below;
    };
    std::string text;
    for (int sentence = 0; sentence < 1500; ++sentence) {
      const uint64_t words = 4 + draw(6);
      for (uint64_t word = 0; word < words; ++word) {
        const uint64_t length = 1 + draw(3);
        for (uint64_t i = 0; i < length; ++i) text += syllables[draw(2 + draw(7))];
        text += word + 1 < words ? " " : ".\n";
      }
      if (sentence % 20 == 19) text += "~\n";
    }
    return text;
  }

  static std::string recipe() {
    return "recipe: 1\n"
           "name: small\n"
           "model:\n"
           "  architecture: llama\n"
           "  vocab_size: 260\n"
           "  hidden_size: 32\n"
           "  intermediate_size: 80\n"
           "  num_hidden_layers: 2\n"
           "  num_attention_heads: 4\n"
           "  num_key_value_heads: 2\n"
           "data:\n"
           "  train: corpus/train\n"
           "  validation: corpus/validation\n"
           "  tokenizer: corpus/tokenizer.json\n"
           "  sequence_length: 32\n"
           "batch: {global: 8, micro: 2}\n"
           "precision: {compute: f32}\n"
           "optimizer: {lr: 5.0e-3}\n"
           "lr_schedule: {kind: constant, warmup_steps: 4}\n"
           "run: {steps: 20, log_every: 5, eval_batches: 4}\n"
           "checkpoint: {every: 10}\n";
  }

  TemporaryDirectory directory_;
};

// Why this machine cannot run an instruction-set path; empty when it can.
inline std::string lacks_path(const std::string& path) {
  const auto wanted = cpu_path_named(path);
  return wanted && *wanted <= best_cpu_path()
             ? ""
             : "this machine has no " + path + ", at most " + name(best_cpu_path());
}

}  // namespace tessera
