// SPDX-License-Identifier: Apache-2.0
#include "trainer/model/parameter.h"

#include "kernels/base/random.h"
#include "kernels/copy.h"
#include "kernels/elementwise.h"

namespace tessera {
namespace {

// Stacks start at multiples of this many elements: 64 bytes or more in every type.
constexpr int64_t kAlignElements = 32;
// Stack::first of a further use is kUseBase + its number.
constexpr int kUseBase = 1 << 30;

int64_t aligned(int64_t elements) {
  return (elements + kAlignElements - 1) / kAlignElements * kAlignElements;
}

}  // namespace

int64_t Parameter::rows() const {
  return shard.box.extent.size() < 2 ? 1 : shard.box.extent[0];
}
int64_t Parameter::columns() const {
  return shard.box.extent.back();
}

Stack ParameterStore::add(std::vector<Parameter> members) {
  check(values_.empty(), "ParameterStore: add() after allocate()");
  const Stack stack{count(), static_cast<int>(members.size())};
  const int64_t columns = members.front().columns();
  int64_t offset = padded_elements_;
  for (Parameter& member : members) {
    check(member.columns() == columns, "ParameterStore: a stack of", member.name,
          "has members of different widths");
    member.index = count();
    member.range = {offset, member.shard.box.size()};
    offset += member.range.count;
    parameters_.push_back(std::move(member));
  }
  padded_elements_ = aligned(offset);
  return stack;
}

Stack ParameterStore::add_use(Stack of) {
  uses_.push_back({of, use_elements_});
  for (int i = of.first; i < of.first + of.count; ++i) use_elements_ += at(i).range.count;
  use_elements_ = aligned(use_elements_);
  return {kUseBase + static_cast<int>(uses_.size()) - 1, of.count};
}

void ParameterStore::allocate_for_inference(Device device, DType compute) {
  const DType wide = accumulation_type(compute);
  const int64_t n = padded_elements_;
  masters_ =
      Tensor(device, wide, {1, n}, compute == wide ? MemoryClass::weights : MemoryClass::optimizer);
  values_ = compute == wide ? masters_ : Tensor(device, compute, {1, n}, MemoryClass::weights);
  Stream stream(device);
  fill(stream, 0, masters_);
  fill(stream, 0, values_);
}

void ParameterStore::allocate(Device device, DType compute) {
  allocate_for_inference(device, compute);
  const DType wide = accumulation_type(compute);
  const int64_t n = padded_elements_;
  grads_ = Tensor(device, wide, {1, n}, MemoryClass::gradients);
  first_moments_ = Tensor(device, wide, {1, n}, MemoryClass::optimizer);
  second_moments_ = Tensor(device, wide, {1, n}, MemoryClass::optimizer);
  if (use_elements_ > 0)
    use_grads_ = Tensor(device, wide, {1, use_elements_}, MemoryClass::gradients);
  Stream stream(device);
  fill(stream, 0, first_moments_);
  fill(stream, 0, second_moments_);
  zero_grads(stream);
}

void ParameterStore::initialize(uint64_t seed) {
  for (const Parameter& parameter : parameters_) {
    const Tensor master = view(masters_, parameter.index);
    const Philox philox{seed, stream_named(parameter.name)};
    const std::vector<int64_t>& shape = parameter.shard.global_shape;
    const int64_t global_columns = shape.back();
    const auto& box = parameter.shard.box;
    const int64_t first_row = shape.size() < 2 ? 0 : box.offset[0];
    const int64_t first_column = box.offset.back();
#pragma omp parallel for
    for (int64_t row = 0; row < master.rows(); ++row)
      for (int64_t column = 0; column < master.columns(); ++column) {
        const auto index =
            static_cast<uint64_t>((first_row + row) * global_columns + first_column + column);
        const double draw =
            parameter.init_deviation == 0 ? 1.0 : parameter.init_deviation * philox.normal(index);
        if (master.dtype() == DType::f64)
          master.row<double>(row)[column] = static_cast<float>(draw);  // the same start as f32
        else
          master.row<float>(row)[column] = static_cast<float>(draw);
      }
  }
  Stream stream(masters_.device());
  publish(stream);
}

void ParameterStore::publish(Stream& stream) {
  if (values_.data() != masters_.data()) cast(stream, masters_, values_);
}

Tensor ParameterStore::stacked(const Tensor& flat, int64_t first, int64_t rows,
                               int64_t columns) const {
  return flat.column_slice(first, rows * columns).reshaped({rows, columns});
}

Tensor ParameterStore::view(const Tensor& flat, int parameter) const {
  const Parameter& p = at(parameter);
  return stacked(flat, p.range.first, p.rows(), p.columns());
}

Tensor ParameterStore::value(Stack stack) const {
  if (stack.first >= kUseBase) stack = uses_.at(static_cast<size_t>(stack.first - kUseBase)).of;
  int64_t rows = 0;
  for (int i = stack.first; i < stack.first + stack.count; ++i) rows += at(i).rows();
  return stacked(values_, at(stack.first).range.first, rows, at(stack.first).columns());
}

Tensor ParameterStore::grad(Stack stack) const {
  const bool further = stack.first >= kUseBase;
  const Use use = further ? uses_.at(static_cast<size_t>(stack.first - kUseBase)) : Use{stack, 0};
  int64_t rows = 0;
  for (int i = use.of.first; i < use.of.first + use.of.count; ++i) rows += at(i).rows();
  const Parameter& first = at(use.of.first);
  return further ? stacked(use_grads_, use.offset, rows, first.columns())
                 : stacked(grads_, first.range.first, rows, first.columns());
}

void ParameterStore::zero_grads(Stream& stream) {
  fill(stream, 0, grads_);
  if (!use_grads_.empty()) fill(stream, 0, use_grads_);
}

void ParameterStore::fold_uses(Stream& stream, int parameter) {
  for (const Use& use : uses_) {
    if (use.of.first != parameter) continue;
    check(use.of.count == 1, "ParameterStore: a stack cannot be used twice");
    const Parameter& p = at(parameter);
    const Tensor mine = view(grads_, parameter);
    tessera::add(stream, mine, stacked(use_grads_, use.offset, p.rows(), p.columns()), mine);
  }
}

int64_t ParameterStore::num_elements() const {
  int64_t elements = 0;
  for (const Parameter& parameter : parameters_) elements += parameter.range.count;
  return elements;
}

std::vector<FlatRange> ParameterStore::ranges() const {
  std::vector<FlatRange> all;
  for (const Parameter& parameter : parameters_) all.push_back(parameter.range);
  return all;
}

}  // namespace tessera
