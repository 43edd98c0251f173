// SPDX-License-Identifier: Apache-2.0
#include "trainer/model/context_ring.h"

namespace tessera {
namespace {

// Sequences are whole here.
class RingOfOne : public ContextRing {
 public:
  void attend(Stream& stream, const Attention& shape, const Tensor& q, const Tensor& k,
              const Tensor& v, const Tensor& document_starts, const Tensor& out,
              const Tensor& log_sum_exp) const override {
    attention(stream, shape, q, k, v, document_starts, out, log_sum_exp);
  }
  void attend_backward(Stream& stream, const Attention& shape, const Tensor& q, const Tensor& k,
                       const Tensor& v, const Tensor& document_starts, const Tensor& out,
                       const Tensor& log_sum_exp, const Tensor& dout,
                       const AttentionGradients& gradients) const override {
    attention_backward(stream, shape, q, k, v, document_starts, out, log_sum_exp, dout, gradients);
  }
};

}  // namespace

const ContextRing& context_ring(const Communicators& comms) {
  const int ranks = comms.along(Axis::context).size();
  check(ranks == 1, "context_ring: sequences are not cut, but the context axis has ranks:", ranks);
  static const RingOfOne one;
  return one;
}

}  // namespace tessera
