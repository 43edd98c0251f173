// SPDX-License-Identifier: Apache-2.0
// A cache keeps the keys and values of the tokens that came before those of a pass, for all
// attention layers of a model. Their place in memory is the cache's own business, and so is the
// kernel that reads them. Whoever generates text owns the cache and hands it to Stage::logits().
#pragma once

#include <cstdint>
#include <unordered_map>

#include "kernels/base/stream.h"
#include "kernels/base/tensor.h"

namespace tessera {

struct Attention;  // kernels/attention.h

class AttentionCache {
 public:
  virtual ~AttentionCache() = default;
  // Keeps the rows of this pass and writes what its queries see in all rows so far. layer: whose
  // rows they are, told by its address. shape: of this pass; key_length does not matter. values
  // empty: the first v_dim columns of keys are the values. Others as in kernels/attention.h.
  virtual void attend(Stream& stream, const void* layer, const Attention& shape, const Tensor& q,
                      const Tensor& keys, const Tensor& values, const Tensor& document_starts,
                      const Tensor& out, const Tensor& log_sum_exp) = 0;
};

// This cache keeps the rows of one sequence, one after another, in a tensor for each layer.
class SequenceCache : public AttentionCache {
 public:
  // capacity: the longest sequence, in tokens. Memory is taken when a layer first attends.
  explicit SequenceCache(int64_t capacity) : capacity_(capacity) {}
  void attend(Stream& stream, const void* layer, const Attention& shape, const Tensor& q,
              const Tensor& keys, const Tensor& values, const Tensor& document_starts,
              const Tensor& out, const Tensor& log_sum_exp) override;
  int64_t length() const { return length_; }  // tokens of the passes that are done
  // A pass over so many tokens is done, in all layers.
  void advance(int64_t tokens) { length_ += tokens; }
  int64_t numbers_per_token() const;  // kept, over all layers

 private:
  struct Rows {
    Tensor keys;    // (capacity, columns)
    Tensor values;  // the same, or empty
  };
  Tensor kept(Stream& stream, Tensor& all, const Tensor& fresh) const;

  int64_t capacity_, length_ = 0;
  std::unordered_map<const void*, Rows> layers_;
};

}  // namespace tessera
