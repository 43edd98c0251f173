// SPDX-License-Identifier: Apache-2.0
// A ring computes attention over sequences whose tokens may lie on several ranks of the context
// axis: each rank attends to the keys of all (ring attention, arXiv:2310.01889). Today sequences
// are whole on each rank, so the only ring is that of one rank, which calls the kernels and sends
// nothing.
#pragma once

#include "kernels/attention.h"
#include "parallel/communicators.h"

namespace tessera {

class ContextRing {
 public:
  virtual ~ContextRing() = default;
  // Arguments as in kernels/attention.h; rows are this rank's.
  virtual void attend(Stream& stream, const Attention& shape, const Tensor& q, const Tensor& k,
                      const Tensor& v, const Tensor& document_starts, const Tensor& out,
                      const Tensor& log_sum_exp) const = 0;
  virtual void attend_backward(Stream& stream, const Attention& shape, const Tensor& q,
                               const Tensor& k, const Tensor& v, const Tensor& document_starts,
                               const Tensor& out, const Tensor& log_sum_exp, const Tensor& dout,
                               const AttentionGradients& gradients) const = 0;
};

// The ring of these ranks; lives as long as the program. REQUIRES a context axis of one rank, to
// which validate() of a recipe holds it.
const ContextRing& context_ring(const Communicators& comms);

}  // namespace tessera
