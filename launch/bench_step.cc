// SPDX-License-Identifier: Apache-2.0
// `tessera bench step`: whole training steps of a recipe's model (a dense decoder of 124M
// parameters without one) on random tokens, in the order of Trainer::step(), timed part by part; on
// one CPU or one GPU. A step has --microbatches of them, one without it, of which all but the last
// are launched as a graph where that is possible (micro_graphs.h), as in training. With one, how
// long the passes of a further one take that is launched as a graph is measured beside.
#include <cmath>
#include <cstdio>
#include <memory>

#include <nlohmann/json.hpp>

#include "kernels/base/exact_sum.h"
#include "kernels/base/random.h"
#include "kernels/copy.h"
#include "kernels/cpu_path.h"
#include "kernels/reduce.h"
#include "kernels/transfer.h"
#include "launch/bench.h"
#include "launch/device_choice.h"
#include "launch/format.h"
#include "launch/recipe_reader.h"
#include "trainer/model/build.h"
#include "trainer/model/counts.h"
#include "trainer/model/micro_graphs.h"
#include "trainer/model/mtp.h"
#include "trainer/model/routing.h"
#include "trainer/optim/optimizer.h"
#include "trainer/planner.h"
#include "trainer/training_plan.h"

namespace tessera {
namespace {

Recipe dense_124m(int64_t sequence) {
  Recipe recipe;
  ModelOptions& model = recipe.model;
  model.vocab_size = 50304;
  model.hidden_size = 768;
  model.intermediate_size = 2048;
  model.num_hidden_layers = 12;
  model.num_attention_heads = 12;
  model.tie_word_embeddings = true;
  model.max_position_embeddings = sequence;
  return recipe;
}

Recipe recipe_of(const BenchCommand& command) {
  if (command.recipe.empty()) return dense_124m(command.sequence);
  return load_recipe(command.recipe, command.overrides, 0).recipe;
}

Micro random_micro(Stream& stream, int64_t batch, int64_t sequence, int64_t vocab_size) {
  const int64_t rows = batch * sequence;
  const Philox philox{1, stream_named("tokens")};
  const auto token = [&](int64_t row) {
    const double draw = philox.uniform(static_cast<uint64_t>(row));
    return static_cast<int32_t>(draw * static_cast<double>(vocab_size));
  };
  std::vector<int32_t> tokens, targets, positions;
  for (int64_t row = 0; row < rows; ++row) {
    tokens.push_back(token(row));
    targets.push_back(token(row + 1));
    positions.push_back(static_cast<int32_t>(row % sequence));
  }
  Micro micro;
  micro.num_sequences = batch;
  micro.sequence_length = sequence;
  micro.tokens = uploaded(stream, tokens);
  micro.targets = uploaded(stream, targets);
  micro.positions = uploaded(stream, positions);
  micro.dloss = std::exp2(-std::round(std::log2(static_cast<double>(rows))));
  micro.dsequence = micro.dloss * static_cast<double>(sequence);
  micro.first_row = 0;
  return micro;
}

// Refuses a step that cannot be, and on the host one that has no room, which is found by playing it
// on a device without memory: Linux would end the process, or others, in the middle. A GPU says by
// itself what its memory is used for.
void check_step(const BenchCommand& command, Device device) {
  Recipe recipe = recipe_of(command);
  recipe.name = "bench";
  recipe.data.train = "random";
  recipe.data.sequence_length = command.sequence;
  recipe.batch = {.global = command.batch, .micro = command.batch};
  const std::string recompute = recipe.parallel.recompute;
  recipe.parallel = {};
  recipe.parallel.recompute = recompute;
  recipe.run = {};
  recipe.run.steps = 1;
  if (device.kind == Device::Kind::cuda) recipe.run.device = "cuda";
  recipe.lr_schedule = {};
  recipe.model.max_position_embeddings =
      std::max(recipe.model.max_position_embeddings, command.sequence);
  recipe.precision.compute = command.dtype == "tf32" ? "f32" : command.dtype;
  recipe.precision.tf32 = false;
  for (const RecipeProblem& problem : validate(recipe, 1))
    fail(problem.kind, "bench step: " + problem.key + ": " + problem.message);
  if (!device.is_host()) return;
  check_room("bench step: --batch " + std::to_string(command.batch) + " --sequence " +
                 std::to_string(command.sequence),
             static_cast<double>(DryJob(recipe, 1).play(0).memory.system_bytes), device);
}

class StepBench {
 public:
  StepBench(const BenchCommand& command, DType dtype, Device device)
      : recipe_(recipe_of(command)), stream_(device) {
    LayerContext context{stream_, store_, comms_, dtype};
    micros_ = static_cast<int>(command.microbatches);
    if (model().has_experts())
      routing_ = std::make_unique<Routing>(stream_, model(),
                                           command.microbatches * command.batch * command.sequence);
    context.routing = routing_.get();
    stage_ = build_stage(context, stage_options(recipe_, command.sequence));
    store_.allocate(device, dtype);
    store_.initialize(1);
    if (recipe_.run.cuda_graphs && MicroGraphs::possible(context, {{2, compute_plan({}, 2)}}))
      graphs_ = std::make_unique<MicroGraphs>(context, *stage_);
    gradients_ = std::make_unique<Gradients>(stream_, store_, comms_);
    for (const Piece& piece : store_.pieces()) grads_.push_back(store_.grad(piece));
    optimizer_ = std::make_unique<Optimizer>(recipe_.optimizer, store_);
    micro_ = random_micro(stream_, command.batch, command.sequence, model().vocab_size);
    micro_.mtp_loss_weight = mtp_loss_weight(recipe_.mtp, {});
  }

  Stream& stream() { return stream_; }
  // Returns when the device has done all of it.
  void step() {
    ++updates_;
    next_ = 0;
    time("zero gradients", [&] { gradients_->begin_step(false); });
    if (routing_) routing_->begin_step(updates_);
    stage_->begin_step(micros(), *gradients_);
    // A graph has both passes, so microbatches before the last are one part.
    if (micros_ > 1)
      time("microbatches before the last", [&] {
        for (int micro = 0; micro + 1 < micros_; ++micro) {
          passes().forward(0, micro, {});
          passes().backward(0, micro, {});
        }
      });
    time("forward, loss head", [&] { passes().forward(0, micros_ - 1, {}); });
    time("backward", [&] { passes().backward(0, micros_ - 1, {}); });
    stage_->end_step();
    gradients_->finish();
    const double scale = 1 / (micro_.dloss * static_cast<double>(micros_ * micro_.rows()));
    time("gradient norm", [&] {
      const Tensor words(stream_.device(), DType::i64, {ExactSum::kWords});
      const Tensor bad(stream_.device(), DType::i64, {std::ssize(grads_)});
      fill(stream_, 0, words);
      fill(stream_, 0, bad);
      sum_of_squares(stream_, grads_, words, bad);
    });
    time("optimizer", [&] {
      const auto [rate, correction1, correction2] = optimizer_->choice(1e-4, updates_);
      std::vector<double> controls(kNumControls);
      controls[kApply] = 1;
      controls[kGradScale] = scale;
      controls[kLearningRate] = rate;
      controls[kCorrection1] = correction1;
      controls[kCorrection2] = correction2;
      optimizer_->step(stream_, uploaded(stream_, controls));
    });
    stream_.synchronize();
    for (Part& part : parts_)
      part.seconds.push_back(part.end.milliseconds_since(part.start) * kSecond);
  }
  void forget() { parts_.clear(); }

  // Of both passes of a microbatch that is launched as a graph, by the device's clock; nothing
  // where graphs are not possible. Weights stay as they are.
  std::vector<double> seconds_of_graphs(int rounds) {
    if (micros_ > 1) return {};  // they are in the step
    constexpr int kWarmUp = 2;   // one step that queues kernel by kernel, one that records
    std::vector<double> seconds;
    if (!graphs_) return seconds;
    Event start(stream_.device(), Timing::on), end(stream_.device(), Timing::on);
    for (int round = -kWarmUp; round < rounds; ++round) {
      gradients_->begin_step(false);
      if (routing_) routing_->begin_step(0);
      stage_->begin_step({micro_, micro_}, *gradients_);
      for (const int micro : {0, 1}) {
        if (micro == 0) start.record(stream_);
        graphs_->forward(0, micro, {});
        graphs_->backward(0, micro, {});
        if (micro == 0) end.record(stream_);
      }
      stage_->end_step();
      gradients_->finish();
      stream_.synchronize();
      if (round >= 0) seconds.push_back(end.milliseconds_since(start) * kSecond);
    }
    return seconds;
  }

  const ModelOptions& model() const { return recipe_.model; }
  int64_t num_parameters() const { return tessera::num_parameters(model()); }
  // Timed by the device: the host may be ahead of it.
  struct Part {
    std::string name;
    Event start, end;
    std::vector<double> seconds = {};
  };
  const std::vector<Part>& parts() const { return parts_; }

 private:
  static constexpr double kSecond = 1e-3;  // of a millisecond

  std::vector<Micro> micros() const {
    std::vector<Micro> all(static_cast<size_t>(micros_), micro_);
    for (size_t i = 0; i < all.size(); ++i)
      all[i].first_row = static_cast<int64_t>(i) * micro_.rows();
    return all;
  }
  PipelineStage& passes() {
    if (graphs_) return *graphs_;
    return *stage_;
  }

  template <typename Work>
  void time(const char* name, Work work) {
    const Device device = stream_.device();
    if (next_ == parts_.size())
      parts_.push_back({name, Event(device, Timing::on), Event(device, Timing::on)});
    Part& part = parts_[next_++];
    part.start.record(stream_);
    work();
    part.end.record(stream_);
  }

  Recipe recipe_;
  Stream stream_;
  Communicators comms_;
  ParameterStore store_;
  std::unique_ptr<Routing> routing_;  // null: the model has no experts
  std::unique_ptr<Stage> stage_;
  std::unique_ptr<MicroGraphs> graphs_;  // null: not possible
  std::unique_ptr<Gradients> gradients_;
  std::vector<Tensor> grads_;
  std::unique_ptr<Optimizer> optimizer_;
  Micro micro_;
  int micros_ = 1;
  int64_t updates_ = 0;
  std::vector<Part> parts_;
  size_t next_ = 0;
};

std::string span(const Spread& spread, double factor, int decimals) {
  return fixed(spread.median * factor, decimals) + " [" + fixed(spread.least * factor, decimals) +
         " .. " + fixed(spread.most * factor, decimals) + "]";
}

}  // namespace

int bench_step(const BenchCommand& command, DType dtype, Device device) {
  // The first step queues kernel by kernel; with several microbatches the second one records them.
  const int warm_up = command.microbatches > 1 ? 2 : 1;
  constexpr double kMilli = 1e3, kGiga = 1e-9;
  check_step(command, device);
  StepBench bench(command, dtype, device);
  Limit peak = flops_limit(device, dtype);
  for (int i = 0; i < warm_up; ++i) bench.step();
  bench.forget();
  const int64_t allocations = memory_use(device).system_allocations;
  std::vector<double> seconds;
  for (int i = 0; i < command.rounds; ++i)
    seconds.push_back(seconds_of(bench.stream(), [&] { bench.step(); }));
  const MemoryUse memory = memory_use(device);
  const int64_t new_allocations = memory.system_allocations - allocations;
  const std::vector<double> graph_seconds = bench.seconds_of_graphs(command.rounds);
  const double limit = peak.value();

  const Spread time = spread_of(seconds);
  const auto tokens = static_cast<double>(command.batch * command.sequence * command.microbatches);
  const double flops = tokens * training_flops_per_token(bench.model(), command.sequence);
  const double share = limit > 0 ? 100 * flops / time.median / limit : 0;
  nlohmann::ordered_json json = {{"benchmark", "step"},
                                 {"dtype", command.dtype},
                                 {"device", describe(device)},
                                 {"path", name(cpu_path())},
                                 {"threads", cpu_threads()},
                                 {"parameters", bench.num_parameters()},
                                 {"batch", command.batch},
                                 {"sequence", command.sequence},
                                 {"microbatches", command.microbatches},
                                 {"tokens_per_second", tokens / time.median},
                                 {"tokens_per_second_least", tokens / time.most},
                                 {"tokens_per_second_most", tokens / time.least},
                                 {"gflops", flops / time.median * kGiga},
                                 {"system_allocations_in_steady_steps", new_allocations},
                                 {"peak_bytes", memory.peak_total}};
  const std::map<std::string, double> earlier = earlier_medians(command);
  if (!earlier.empty()) json["ratio"] = tokens / time.median / earlier.at("step");
  if (limit > 0) {
    json["peak_gflops"] = limit * kGiga;
    json["percent_of_peak"] = share;
  }
  std::vector<std::vector<std::string>> rows = {{"part", "ms", "share %"}};
  for (const StepBench::Part& part : bench.parts()) {
    const Spread spread = spread_of(part.seconds);
    rows.push_back(
        {part.name, span(spread, kMilli, 1), fixed(100 * spread.median / time.median, 1)});
    json["ms"][part.name] = spread.median * kMilli;
  }
  rows.push_back({"step", span(time, kMilli, 1), "100"});
  if (!graph_seconds.empty()) json["graph_ms"] = spread_of(graph_seconds).median * kMilli;
  for (int i = 0; i < kNumMemoryClasses; ++i)
    json["peak_bytes_by_class"][name(static_cast<MemoryClass>(i))] =
        memory.peak[static_cast<size_t>(i)];
  if (command.json) {
    std::printf("%s\n", json.dump().c_str());
    return 0;
  }
  const std::string times =
      command.microbatches > 1 ? std::to_string(command.microbatches) + " x " : std::string();
  std::printf("%s parameters, %sB=%lld T=%lld, %s, %s, median of %d steps\n",
              with_prefix(static_cast<double>(bench.num_parameters())).c_str(), times.c_str(),
              static_cast<long long>(command.batch), static_cast<long long>(command.sequence),
              command.dtype.c_str(), describe(device).c_str(), command.rounds);
  std::fputs(table(rows).c_str(), stdout);
  if (!graph_seconds.empty())
    std::printf("forward and backward launched as one graph: %s ms\n",
                span(spread_of(graph_seconds), kMilli, 1).c_str());
  std::printf("system allocations in the steady steps: %lld\npeak memory:",
              static_cast<long long>(new_allocations));
  for (int i = 0; i < kNumMemoryClasses; ++i)
    std::printf(" %s %s,", name(static_cast<MemoryClass>(i)),
                as_bytes(static_cast<double>(memory.peak[static_cast<size_t>(i)])).c_str());
  std::printf(" together %s\n", as_bytes(static_cast<double>(memory.peak_total)).c_str());
  std::printf("%.1f tokens/s [%.1f .. %.1f], %.1f GFLOP/s", tokens / time.median,
              tokens / time.most, tokens / time.least, flops / time.median * kGiga);
  if (limit > 0)
    std::printf(" = %.1f %% of the %s of %.0f\n", share, peak.words().c_str(), limit * kGiga);
  else
    std::printf(" (%s: not known for %s)\n", peak.words().c_str(), command.dtype.c_str());
  if (!earlier.empty())
    std::printf("%.3f of the %.1f tokens/s in %s\n", json["ratio"].get<double>(),
                earlier.at("step"), command.compare.c_str());
  return 0;
}

}  // namespace tessera
