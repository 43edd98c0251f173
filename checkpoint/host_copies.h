// SPDX-License-Identifier: Apache-2.0
// Tensors one after another where the host can read them: those of the host themselves, those of a
// GPU copied to pinned memory by a queue beside the training's, some ahead of the one that is read.
// The tensors must not change meanwhile. Not thread-safe.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "kernels/base/stream.h"
#include "kernels/base/tensor.h"

namespace tessera {

class HostCopies {
 public:
  // In the order in which they will be asked for; what the thread's streams were given is done
  // first. bytes_ahead: of copies on their way at once, one tensor at the least.
  static constexpr int64_t kBytesAhead = int64_t{256} << 20;
  explicit HostCopies(std::vector<Tensor> tensors, int64_t bytes_ahead = kBytesAhead);
  ~HostCopies();  // waits for what is on its way

  Tensor next();  // the next of them; waits for its copy alone

 private:
  struct Copy {
    Tensor host;
    std::unique_ptr<Event> done;  // null: the tensor itself
  };
  void start_more();

  std::vector<Tensor> tensors_;
  int64_t bytes_ahead_;
  std::unique_ptr<Stream> side_;  // null: all are the host's
  size_t started_ = 0;
  std::deque<Copy> copies_;
  int64_t bytes_on_the_way_ = 0;
};

}  // namespace tessera
