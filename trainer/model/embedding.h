// SPDX-License-Identifier: Apache-2.0
// Token embedding: the first layer; its input is empty and its gradient goes nowhere.
#pragma once

#include "trainer/model/layer.h"

namespace tessera {

class Embedding : public Layer {
 public:
  Embedding(LayerContext context, std::string name, int64_t vocab_size, int64_t hidden_size,
            double deviation, bool decay);
  Tensor forward(const Tensor& x, const Micro& micro, Tape* tape) override;  // -> (T, H)
  Tensor backward_input(const Tensor& dy, Tape& tape) override;              // -> empty
  void backward_weight(Tape& tape) override;
  std::vector<int> parameters() const override { return {table_.first}; }
  Stack table() const { return table_; }  // (V, H), for a tied head

 private:
  LayerContext context_;
  Stack table_;
};

}  // namespace tessera
