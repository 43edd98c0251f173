// SPDX-License-Identifier: Apache-2.0
// cuDNN's attention in the place of our kernels, where TESSERA_ATTENTION=cudnn asks for it and it
// serves: bf16 and f16, as many keys as queries, no document boundaries, head sizes that are
// multiples of 8 and that the installed cuDNN takes. attention_cudnn.cc, or, where cuDNN or its
// frontend was not found when this was built, attention_no_cudnn.cc. Kept inside kernels/cuda.
#pragma once

#include <string>

#include "kernels/attention.h"

namespace tessera::cuda {

// Arguments as in kernels/attention.h; REQUIRES that attention_choice() is cudnn. Returns why
// nothing was done and our kernels must do it, a clause; empty: it is done. Which of the two it is
// depends on the device, shapes, pitches and addresses modulo 16 alone, never on how much memory is
// free, so equal calls take the same way, in this process and in the one that resumes it. Throws
// Error{usage} where it was not built in, peer where cuDNN fails at what it accepted, capacity
// where its workspace has no room. Thread-safe.
std::string library_attention(Stream& stream, const Attention& shape, const Tensor& q,
                              const Tensor& k, const Tensor& v, const Tensor& document_starts,
                              const Tensor& out, const Tensor& log_sum_exp);
std::string library_attention_backward(Stream& stream, const Attention& shape, const Tensor& q,
                                       const Tensor& k, const Tensor& v,
                                       const Tensor& document_starts, const Tensor& out,
                                       const Tensor& log_sum_exp, const Tensor& dout,
                                       const AttentionGradients& gradients);

}  // namespace tessera::cuda

// How many calls of either cuDNN has served so far; -1: it was not built in. A symbol of the plugin
// (cuda_plugin_symbol()), so that a benchmark knows whom it timed.
extern "C" int64_t tessera_library_attention_calls();

// Our backward pass's first kernel alone (attention_plain.cu), for a benchmark: the products of the
// rows of `out` and `dout`, (rows, heads x v_dim), head by head.
extern "C" void tessera_attention_row_deltas(tessera::Stream& stream,
                                             const tessera::Attention& shape,
                                             const tessera::Tensor& out,
                                             const tessera::Tensor& dout);
