// SPDX-License-Identifier: Apache-2.0
// Parameters and where they lie. All values, gradients, master weights and moments of a model are
// flat buffers with equal element offsets, so that reductions and the optimizer run over long
// ranges. Layers declare parameters while they are built; allocate() then gives them memory.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/base/tensor.h"
#include "parallel/grad_buckets.h"
#include "parallel/shard.h"

namespace tessera {

struct Parameter {
  std::string name;           // Hugging Face's, with global layer numbers
  ShardSpec shard;            // the box of the global tensor that this rank holds
  bool decay = true;          // weight decay applies
  double init_deviation = 0;  // normal(0, deviation) by global element index; 0: all ones
  int index = 0;              // place in the store
  FlatRange range;            // elements of the flat buffers

  // (rows, columns) of my box; one-dimensional parameters are (1, n).
  int64_t rows() const;
  int64_t columns() const;
};

// Several parameters that lie one after another and are used as one matrix (q, k and v; gate and
// up). They have equal columns; the matrix has the sum of their rows.
struct Stack {
  int first = 0;  // index of the first parameter
  int count = 1;
};

class ParameterStore {
 public:
  // REQUIRES before allocate(). Columns of a stack's members are equal.
  Stack add(std::vector<Parameter> members);
  Stack add(Parameter parameter) { return add(std::vector<Parameter>{std::move(parameter)}); }
  // A second use of a parameter (a tied head) with a gradient buffer of its own, added to the
  // first use's in a fixed order once after the last microbatch (docs/numerics.md).
  Stack add_use(Stack of);

  // compute: the type that layers read. Gradients, masters and moments are accumulation_type.
  void allocate(Device device, DType compute);
  // Values and masters only: nothing is trained.
  void allocate_for_inference(Device device, DType compute);
  void initialize(uint64_t seed);  // masters drawn on the host; then publish()
  void publish(Stream& stream);    // values = masters rounded to the compute type

  Tensor value(Stack stack) const;  // (rows, columns) compute type
  Tensor grad(Stack stack) const;   // (rows, columns) accumulation type, of this use
  void zero_grads(Stream& stream);
  // Adds the gradients of further uses of `parameter` to its own.
  void fold_uses(Stream& stream, int parameter);

  int count() const { return static_cast<int>(parameters_.size()); }
  const Parameter& at(int index) const { return parameters_.at(static_cast<size_t>(index)); }
  const std::vector<Parameter>& all() const { return parameters_; }
  int64_t num_elements() const;  // of the model: every parameter once, no padding
  std::vector<FlatRange> ranges() const;

  // Flat buffers, (1, padded elements).
  const Tensor& values() const { return values_; }
  const Tensor& grads() const { return grads_; }
  const Tensor& masters() const { return masters_; }  // shares values() when the types are equal
  const Tensor& first_moments() const { return first_moments_; }
  const Tensor& second_moments() const { return second_moments_; }
  // The (rows, columns) view of one parameter in a flat buffer.
  Tensor view(const Tensor& flat, int parameter) const;

 private:
  Tensor stacked(const Tensor& flat, int64_t first, int64_t rows, int64_t columns) const;

  struct Use {  // of parameter `first`, gradient at `offset` of use_grads_
    Stack of;
    int64_t offset = 0;
  };
  std::vector<Parameter> parameters_;
  std::vector<Use> uses_;
  int64_t padded_elements_ = 0;
  int64_t use_elements_ = 0;
  Tensor values_, grads_, masters_, first_moments_, second_moments_, use_grads_;
};

}  // namespace tessera
