// SPDX-License-Identifier: Apache-2.0
// `tessera bench step`: whole training steps of a dense decoder of 124M parameters on random
// tokens, in the order of Trainer::step(), timed part by part.
#include <cmath>
#include <cstdio>

#include <nlohmann/json.hpp>

#include "kernels/base/exact_sum.h"
#include "kernels/base/random.h"
#include "kernels/copy.h"
#include "kernels/cpu_path.h"
#include "kernels/reduce.h"
#include "launch/bench.h"
#include "launch/format.h"
#include "trainer/model/build.h"
#include "trainer/model/counts.h"
#include "trainer/optim/optimizer.h"

namespace tessera {
namespace {

ModelOptions dense_124m(int64_t sequence) {
  ModelOptions model;
  model.vocab_size = 50304;
  model.hidden_size = 768;
  model.intermediate_size = 2048;
  model.num_hidden_layers = 12;
  model.num_attention_heads = 12;
  model.tie_word_embeddings = true;
  model.max_position_embeddings = sequence;
  return model;
}

Micro random_micro(int64_t batch, int64_t sequence, int64_t vocab_size) {
  const int64_t rows = batch * sequence;
  Micro micro;
  micro.num_sequences = batch;
  micro.sequence_length = sequence;
  for (Tensor* ints : {&micro.tokens, &micro.targets, &micro.positions})
    *ints = Tensor({}, DType::i32, {rows});
  const Philox philox{1, stream_named("tokens")};
  const auto token = [&](int64_t row) {
    const double draw = philox.uniform(static_cast<uint64_t>(row));
    return static_cast<int32_t>(draw * static_cast<double>(vocab_size));
  };
  for (int64_t row = 0; row < rows; ++row) {
    micro.tokens.as<int32_t>()[row] = token(row);
    micro.targets.as<int32_t>()[row] = token(row + 1);
    micro.positions.as<int32_t>()[row] = static_cast<int32_t>(row % sequence);
  }
  micro.dloss = std::exp2(-std::round(std::log2(static_cast<double>(rows))));
  return micro;
}

Recipe recipe_of(const ModelOptions& model) {
  Recipe recipe;
  recipe.model = model;
  return recipe;
}

class StepBench {
 public:
  StepBench(const BenchCommand& command, DType dtype)
      : model_(dense_124m(command.sequence)),
        stage_(build_stage({stream_, store_, comms_, dtype}, recipe_of(model_), command.sequence)) {
    store_.allocate(Device{}, dtype);
    store_.initialize(1);
    gradients_ = std::make_unique<Gradients>(stream_, store_, comms_);
    optimizer_ = std::make_unique<Optimizer>(OptimizerOptions{}, store_);
    micro_ = random_micro(command.batch, command.sequence, model_.vocab_size);
  }

  void step() {
    ++updates_;
    begin();
    time("zero gradients", [&] { gradients_->begin_step(false); });
    stage_->begin_step({micro_}, *gradients_);
    time("forward, loss head", [&] { stage_->forward(0, 0, {}); });
    time("backward", [&] { stage_->backward(0, 0, {}); });
    stage_->end_step();
    gradients_->finish();
    const double scale = 1 / (micro_.dloss * static_cast<double>(micro_.rows()));
    time("gradient norm", [&] {
      const Tensor words({}, DType::i64, {ExactSum::kWords});
      fill(stream_, 0, words);
      for (const Piece& piece : store_.pieces()) sum_of_squares(stream_, store_.grad(piece), words);
    });
    time("optimizer", [&] {
      optimizer_->step(stream_, {.grad_scale = scale, .learning_rate = 1e-4, .update = updates_});
    });
  }
  void forget() { parts_.clear(); }

  const ModelOptions& model() const { return model_; }
  int64_t num_parameters() const { return tessera::num_parameters(model_); }
  struct Part {
    std::string name;
    std::vector<double> seconds;
  };
  const std::vector<Part>& parts() const { return parts_; }

 private:
  void begin() { next_ = 0; }
  template <typename Work>
  void time(const char* name, Work work) {
    if (next_ == parts_.size()) parts_.push_back({name, {}});
    parts_[next_++].seconds.push_back(seconds_of(work));
  }

  ModelOptions model_;
  Stream stream_{Device{}};
  Communicators comms_;
  ParameterStore store_;
  std::unique_ptr<Stage> stage_;
  std::unique_ptr<Gradients> gradients_;
  std::unique_ptr<Optimizer> optimizer_;
  Micro micro_;
  int64_t updates_ = 0;
  std::vector<Part> parts_;
  size_t next_ = 0;
};

std::string span(const Spread& spread, double factor, int decimals) {
  return fixed(spread.median * factor, decimals) + " [" + fixed(spread.least * factor, decimals) +
         " .. " + fixed(spread.most * factor, decimals) + "]";
}

}  // namespace

int bench_step(const BenchCommand& command, DType dtype) {
  constexpr int kWarmUp = 1;
  constexpr double kMilli = 1e3, kGiga = 1e-9;
  StepBench bench(command, dtype);
  Limit peak = peak_flops(dtype);
  for (int i = 0; i < kWarmUp; ++i) bench.step();
  bench.forget();
  const int64_t allocations = memory_use().system_allocations;
  std::vector<double> seconds;
  for (int i = 0; i < command.rounds; ++i) seconds.push_back(seconds_of([&] { bench.step(); }));
  const MemoryUse memory = memory_use();
  const int64_t new_allocations = memory.system_allocations - allocations;
  const double limit = peak.value();

  const Spread time = spread_of(seconds);
  const auto tokens = static_cast<double>(command.batch * command.sequence);
  const double flops = tokens * training_flops_per_token(bench.model(), command.sequence);
  const double share = 100 * flops / time.median / limit;
  nlohmann::ordered_json json = {{"benchmark", "step"},
                                 {"dtype", command.dtype},
                                 {"path", name(cpu_path())},
                                 {"threads", cpu_threads()},
                                 {"parameters", bench.num_parameters()},
                                 {"batch", command.batch},
                                 {"sequence", command.sequence},
                                 {"tokens_per_second", tokens / time.median},
                                 {"tokens_per_second_least", tokens / time.most},
                                 {"tokens_per_second_most", tokens / time.least},
                                 {"gflops", flops / time.median * kGiga},
                                 {"peak_gflops", limit * kGiga},
                                 {"percent_of_peak", share},
                                 {"system_allocations_in_steady_steps", new_allocations},
                                 {"peak_bytes", memory.peak_total}};
  std::vector<std::vector<std::string>> rows = {{"part", "ms", "share %"}};
  for (const StepBench::Part& part : bench.parts()) {
    const Spread spread = spread_of(part.seconds);
    rows.push_back(
        {part.name, span(spread, kMilli, 1), fixed(100 * spread.median / time.median, 1)});
    json["ms"][part.name] = spread.median * kMilli;
  }
  rows.push_back({"step", span(time, kMilli, 1), "100"});
  for (int i = 0; i < kNumMemoryClasses; ++i)
    json["peak_bytes_by_class"][name(static_cast<MemoryClass>(i))] =
        memory.peak[static_cast<size_t>(i)];
  if (command.json) {
    std::printf("%s\n", json.dump().c_str());
    return 0;
  }
  std::printf("%s parameters, B=%lld T=%lld, %s, %s, %d threads, median of %d steps\n",
              with_prefix(static_cast<double>(bench.num_parameters())).c_str(),
              static_cast<long long>(command.batch), static_cast<long long>(command.sequence),
              command.dtype.c_str(), name(cpu_path()), cpu_threads(), command.rounds);
  std::fputs(table(rows).c_str(), stdout);
  std::printf("%.1f tokens/s [%.1f .. %.1f], %.1f GFLOP/s = %.1f %% of the peak of %.0f\n",
              tokens / time.median, tokens / time.most, tokens / time.least,
              flops / time.median * kGiga, share, limit * kGiga);
  std::printf("system allocations in the steady steps: %lld\npeak memory:",
              static_cast<long long>(new_allocations));
  for (int i = 0; i < kNumMemoryClasses; ++i)
    std::printf(" %s %s,", name(static_cast<MemoryClass>(i)),
                as_bytes(static_cast<double>(memory.peak[static_cast<size_t>(i)])).c_str());
  std::printf(" together %s\n", as_bytes(static_cast<double>(memory.peak_total)).c_str());
  return 0;
}

}  // namespace tessera
