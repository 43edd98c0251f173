// SPDX-License-Identifier: Apache-2.0
// attention_cudnn.h where cuDNN or its frontend was not found when the plugin was built: our
// kernels do everything, and who asks for the other ones is told.
#include "kernels/base/check.h"
#include "kernels/cuda/attention_cudnn.h"

namespace tessera::cuda {
namespace {

[[noreturn]] void refuse_library() {
  fail(ErrorKind::usage,
       "TESSERA_ATTENTION=cudnn, but cuDNN (CUDNN_HOME, or the wheel nvidia-cudnn-cu13) or "
       "cudnn_frontend.h (launch/cudnn_frontend.sh fetches it) was not found when the plugin was "
       "built; unset it, or build the plugin with both");
}

}  // namespace

std::string library_attention(Stream&, const Attention&, const Tensor&, const Tensor&,
                              const Tensor&, const Tensor&, const Tensor&, const Tensor&) {
  refuse_library();
}
std::string library_attention_backward(Stream&, const Attention&, const Tensor&, const Tensor&,
                                       const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                                       const Tensor&, const AttentionGradients&) {
  refuse_library();
}

}  // namespace tessera::cuda

extern "C" int64_t tessera_library_attention_calls() {
  return -1;
}
