// SPDX-License-Identifier: Apache-2.0
// cuDNN's attention in the place of our kernels, where TESSERA_ATTENTION=cudnn asks for it and it
// serves: bf16 and f16, as many keys as queries, no document boundaries, head sizes that are
// multiples of 8 and that the installed cuDNN takes. attention_cudnn.cc, or, where cuDNN's
// frontend was not found when this was built, attention_no_cudnn.cc. Kept inside kernels/cuda.
#pragma once

#include "kernels/attention.h"

namespace tessera::cuda {

// Arguments as in kernels/attention.h. false: nothing was done, our kernels must do it. Which of
// the two it is depends on shapes, pitches and addresses modulo 16 alone, so equal calls of a
// process take the same way. Throws Error{usage} where TESSERA_ATTENTION is no known word or wants
// what was not built, peer where cuDNN fails at what it accepted. Thread-safe.
bool library_attention(Stream& stream, const Attention& shape, const Tensor& q, const Tensor& k,
                       const Tensor& v, const Tensor& document_starts, const Tensor& out,
                       const Tensor& log_sum_exp);
bool library_attention_backward(Stream& stream, const Attention& shape, const Tensor& q,
                                const Tensor& k, const Tensor& v, const Tensor& document_starts,
                                const Tensor& out, const Tensor& log_sum_exp, const Tensor& dout,
                                const AttentionGradients& gradients);

}  // namespace tessera::cuda

// How many calls of either cuDNN has served so far; -1: it was not built in. A symbol of the plugin
// (cuda_plugin_symbol()), so that a benchmark knows whom it timed.
extern "C" int64_t tessera_library_attention_calls();
