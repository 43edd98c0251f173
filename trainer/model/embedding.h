// SPDX-License-Identifier: Apache-2.0
// Token embedding: the first layer; its input is empty and its gradient goes nowhere. Under tensor
// parallelism the vocabulary is cut (Megatron-LM's vocabulary-parallel embedding): each rank looks
// up its own tokens, zeros for the others, and the rows are summed.
#pragma once

#include "trainer/model/layer.h"

namespace tessera {

class Embedding : public Layer {
 public:
  // table: (V, H), cut by rows for this rank.
  Embedding(LayerContext context, Parameter table);
  // A further use of a table that begins with first_token (ParameterStore::add_use).
  Embedding(LayerContext context, Stack table, int64_t first_token);
  Tensor forward(const Tensor& x, const Micro& micro, Pass pass) override;  // -> (t, H)
  Tensor backward_input(const Tensor& dy, Tape& tape) override;             // -> empty
  void backward_weight(Tape& tape) override;
  std::vector<Stack> weights() const override { return {table_}; }
  Stack table() const { return table_; }  // (my slice of V, H), for a tied head

 private:
  LayerContext context_;
  int64_t first_token_;
  Stack table_;
};

}  // namespace tessera
