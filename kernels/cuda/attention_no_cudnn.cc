// SPDX-License-Identifier: Apache-2.0
// attention_cudnn.h where cuDNN's frontend was not found when the plugin was built: our kernels do
// everything, and who asks for the other ones is told.
#include "kernels/cuda/attention_choice.h"
#include "kernels/cuda/attention_cudnn.h"

namespace tessera::cuda {
namespace {

bool refuse_library() {
  check(!wants_library_attention(), ErrorKind::usage,
        "TESSERA_ATTENTION=cudnn, but cudnn_frontend.h was not found when the plugin was built "
        "(launch/cudnn_frontend.sh fetches it)");
  return false;
}

}  // namespace

bool library_attention(Stream&, const Attention&, const Tensor&, const Tensor&, const Tensor&,
                       const Tensor&, const Tensor&, const Tensor&) {
  return refuse_library();
}
bool library_attention_backward(Stream&, const Attention&, const Tensor&, const Tensor&,
                                const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                                const Tensor&, const AttentionGradients&) {
  return refuse_library();
}

}  // namespace tessera::cuda

extern "C" int64_t tessera_library_attention_calls() {
  return -1;
}
