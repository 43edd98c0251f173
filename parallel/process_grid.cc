// SPDX-License-Identifier: Apache-2.0
#include "parallel/process_grid.h"

#include <array>

#include "kernels/base/check.h"

namespace tessera {

const char* name(Axis axis) {
  static constexpr std::array<const char*, kNumAxes> kNames = {
      "pipeline", "data", "context", "tensor", "expert_data", "expert", "expert_tensor"};
  return kNames.at(static_cast<size_t>(axis));
}

ProcessGrid::ProcessGrid(const GridSizes& sizes) : sizes_(sizes) {
  for (const Axis axis : {Axis::pipeline, Axis::data, Axis::context, Axis::tensor, Axis::expert,
                          Axis::expert_tensor}) {
    const int value = axis == Axis::expert          ? sizes.expert
                      : axis == Axis::expert_tensor ? sizes.expert_tensor
                                                    : size(axis);
    check(value >= 1, ErrorKind::capacity, "parallel." + std::string(name(axis)),
          "must be at least 1, got", value);
  }
  const int dense = sizes.data * sizes.context * sizes.tensor;
  const int expert = sizes.expert * sizes.expert_tensor;
  check(dense % expert == 0, ErrorKind::capacity, "parallel.expert x expert_tensor =", expert,
        "must divide data x context x tensor =", dense);
}

ProcessGrid ProcessGrid::filling(int num_ranks, GridSizes sizes) {
  const int fixed = sizes.pipeline * sizes.context * sizes.tensor;
  check(num_ranks >= fixed, ErrorKind::capacity,
        "parallel: tensor " + std::to_string(sizes.tensor) + " x pipeline " +
            std::to_string(sizes.pipeline) + " x context " + std::to_string(sizes.context) +
            " needs at least " + std::to_string(fixed) + " ranks, this job has",
        num_ranks);
  const int below = num_ranks / fixed * fixed;
  check(num_ranks % fixed == 0, ErrorKind::capacity,
        "parallel: tensor " + std::to_string(sizes.tensor) + " x pipeline " +
            std::to_string(sizes.pipeline) + " x context " + std::to_string(sizes.context) + " = " +
            std::to_string(fixed) + " does not divide " + std::to_string(num_ranks) +
            " ranks; nearest legal numbers of ranks:",
        below, "and", below + fixed);
  sizes.data = num_ranks / fixed;
  return ProcessGrid(sizes);
}

int ProcessGrid::num_ranks() const {
  return sizes_.pipeline * sizes_.data * sizes_.context * sizes_.tensor;
}

int ProcessGrid::size(Axis axis) const {
  switch (axis) {
    case Axis::pipeline: return sizes_.pipeline;
    case Axis::data: return sizes_.data;
    case Axis::context: return sizes_.context;
    case Axis::tensor: return sizes_.tensor;
    case Axis::expert: return sizes_.expert;
    case Axis::expert_tensor: return sizes_.expert_tensor;
    case Axis::expert_data:
      return sizes_.data * sizes_.context * sizes_.tensor / (sizes_.expert * sizes_.expert_tensor);
  }
  fail(ErrorKind::internal, "ProcessGrid: no such axis");
}

int ProcessGrid::stride(Axis axis) const {
  switch (axis) {
    case Axis::tensor:
    case Axis::expert_tensor: return 1;
    case Axis::context: return sizes_.tensor;
    case Axis::data: return sizes_.tensor * sizes_.context;
    case Axis::expert: return sizes_.expert_tensor;
    case Axis::expert_data: return sizes_.expert_tensor * sizes_.expert;
    case Axis::pipeline: return sizes_.tensor * sizes_.context * sizes_.data;
  }
  fail(ErrorKind::internal, "ProcessGrid: no such axis");
}

int ProcessGrid::coord(Axis axis, int rank) const {
  check(rank >= 0 && rank < num_ranks(), "ProcessGrid: no such rank", rank);
  return rank / stride(axis) % size(axis);
}

std::vector<int> ProcessGrid::ranks_along(Axis axis, int rank) const {
  const int first = rank - coord(axis, rank) * stride(axis);
  std::vector<int> ranks;
  for (int place = 0; place < size(axis); ++place) ranks.push_back(first + place * stride(axis));
  return ranks;
}

std::string ProcessGrid::to_string() const {
  std::string text = "data " + std::to_string(sizes_.data) + " x tensor " +
                     std::to_string(sizes_.tensor) + " x pipeline " +
                     std::to_string(sizes_.pipeline);
  if (sizes_.context > 1) text += " x context " + std::to_string(sizes_.context);
  return text;
}

}  // namespace tessera
