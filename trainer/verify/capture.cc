// SPDX-License-Identifier: Apache-2.0
#include "trainer/verify/capture.h"

#include <bit>
#include <cstring>

#include <nlohmann/json.hpp>

#include "kernels/transfer.h"
#include "trainer/trainer.h"

namespace tessera {
namespace {

using Json = nlohmann::json;

// What the other ranks must know of the boxes that a rank will send, in order.
std::string describe(const State& state) {
  Json boxes = Json::array();
  for (const StateEntry& entry : state.entries)
    if (entry.owner)
      boxes.push_back({{"name", entry.name},
                       {"role", entry.role},
                       {"dtype", name(entry.tensor.dtype())},
                       {"shape", entry.shard.global_shape},
                       {"offset", entry.shard.box.offset},
                       {"extent", entry.shard.box.extent}});
  return boxes.dump();
}

class Puzzle {
 public:
  void add(const Json& box, const Tensor& tensor) {
    const auto shape = box["shape"].get<std::vector<int64_t>>();
    const auto offset = box["offset"].get<std::vector<int64_t>>();
    const int64_t columns = shape.back(), rows = shape.size() < 2 ? 1 : shape[0];
    const int64_t first_row = shape.size() < 2 ? 0 : offset[0];
    std::vector<double>& whole = found[box["role"]][box["name"]];
    int64_t& filled = filled_[{box["role"], box["name"]}];
    if (whole.empty()) whole.resize(static_cast<size_t>(rows * columns));
    for (int64_t row = 0; row < tensor.rows(); ++row)
      for (int64_t column = 0; column < tensor.columns(); ++column)
        whole[static_cast<size_t>((first_row + row) * columns + offset.back() + column)] =
            tensor.dtype() == DType::f64 ? tensor.row<double>(row)[column]
                                         : static_cast<double>(tensor.row<float>(row)[column]);
    filled += tensor.size();
  }
  void check_complete() const {
    for (const auto& [key, filled] : filled_)
      check(filled == static_cast<int64_t>(found.at(key.first).at(key.second).size()),
            "verify:", key.first, key.second, "has", filled, "of",
            found.at(key.first).at(key.second).size(), "elements");
  }
  std::map<std::string, TensorMap> found;

 private:
  std::map<std::pair<std::string, std::string>, int64_t> filled_;
};

}  // namespace

std::map<std::string, TensorMap> gather_tensors(Stream& stream, Communicator& group,
                                                const State& state) {
  constexpr int kChannel = 0;
  const std::vector<std::string> lists = group.all_gather(describe(state), "boxes");
  if (group.rank() > 0) {
    for (const StateEntry& entry : state.entries)
      if (entry.owner) group.start_send(stream, entry.tensor, 0, kChannel, "tensors")->wait();
    return {};
  }
  Puzzle puzzle;
  for (int rank = 0; rank < group.size(); ++rank) {
    size_t next = 0;
    for (const Json& box : Json::parse(lists[static_cast<size_t>(rank)])) {
      while (rank == 0 && !state.entries[next].owner) ++next;
      const auto extent = box["extent"].get<std::vector<int64_t>>();
      Tensor tensor;
      if (rank == 0) {
        tensor = state.entries[next++].tensor;
      } else {
        tensor = Tensor(stream.device(), *dtype_named(box["dtype"].get<std::string>()),
                        {extent.size() < 2 ? 1 : extent[0], extent.back()});
        group.start_recv(stream, tensor, rank, kChannel, "tensors")->wait();
      }
      puzzle.add(box, on_host(stream, tensor));
    }
  }
  puzzle.check_complete();
  return std::move(puzzle.found);
}

std::string to_text(const RoutingRecord& record) {
  Json list = Json::array();
  for (const auto& [key, chosen] : record.chosen) list.push_back({key.first, key.second, chosen});
  return list.dump();
}

RoutingRecord routing_record(const std::string& text) {
  RoutingRecord record;
  for (const Json& entry : Json::parse(text))
    record.chosen[{entry[0].get<int64_t>(), entry[1].get<int64_t>()}] =
        entry[2].get<std::vector<int32_t>>();
  return record;
}

namespace {

RoutingFlips of_all_ranks(const RoutingFlips& mine, Communicator& world) {
  // Bits of positive doubles are ordered as the doubles are.
  const int64_t margin =
      world.all_reduce(std::bit_cast<int64_t>(mine.margin), Reduce::max, "routing");
  return {.rows = world.all_reduce(mine.rows, Reduce::sum, "routing"),
          .flipped = world.all_reduce(mine.flipped, Reduce::sum, "routing"),
          .margin = std::bit_cast<double>(margin)};
}

}  // namespace

Captured capture(const Recipe& recipe, const Communicators& comms, const RoutingTape& tape) {
  const bool reference = recipe.run.device == "reference";
  return capture(recipe, Device{reference ? Device::Kind::reference : Device::Kind::cpu}, comms,
                 tape);
}

Captured capture(const Recipe& recipe, Device device, const Communicators& comms,
                 const RoutingTape& tape) {
  Trainer trainer(recipe, device, comms);
  if (Routing* routing = trainer.routing()) {
    routing->record(tape.record);
    routing->replay(tape.replay);
  }
  Captured captured;
  for (int64_t step = 0; step < recipe.run.steps; ++step) {
    const StepReport report = trainer.step({});
    captured.losses.push_back(report.loss);
    captured.grad_norms.push_back(report.grad_norm);
    if (step > 0) continue;
    if (Routing* routing = trainer.routing())
      captured.flips.margin = of_all_ranks(routing->flips(), comms.world()).margin;
    captured.gradients =
        gather_tensors(trainer.stream(), comms.world(), trainer.gradients())["grad"];
    for (auto& [name, values] : captured.gradients)
      for (double& value : values) value *= report.grad_unscale;
  }
  auto state = gather_tensors(trainer.stream(), comms.world(), trainer.state());
  captured.weights = std::move(state["param"]);
  for (const StateRole& each : optimizer_kind(recipe.optimizer.name).states)
    captured.states[each.words] = std::move(state[each.role]);
  if (Routing* routing = trainer.routing()) {
    const RoutingFlips all = of_all_ranks(routing->flips(), comms.world());
    captured.flips.rows = all.rows;
    captured.flips.flipped = all.flipped;
  }
  return captured;
}

}  // namespace tessera
