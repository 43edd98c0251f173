// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/host_copies.h"

#include <utility>

#include "kernels/transfer.h"

namespace tessera {

HostCopies::HostCopies(std::vector<Tensor> tensors, int64_t bytes_ahead)
    : tensors_(std::move(tensors)), bytes_ahead_(bytes_ahead) {
  for (const Tensor& tensor : tensors_) {
    if (tensor.device().is_host() || side_) continue;
    Stream training(tensor.device());
    Event trained(tensor.device());
    trained.record(training);
    side_ = std::make_unique<Stream>(tensor.device(), Stream::Queue::copies);
    trained.hold(*side_);
  }
  start_more();
}

HostCopies::~HostCopies() {
  if (copies_.empty() || !side_) return;
  try {
    side_->synchronize();
  } catch (const Error&) {
    return;  // the device failed, which whoever uses it next is told
  }
}

void HostCopies::start_more() {
  while (started_ < tensors_.size() && (copies_.empty() || bytes_on_the_way_ < bytes_ahead_)) {
    const Tensor& tensor = tensors_[started_++];
    if (tensor.device().is_host()) {
      copies_.push_back({tensor, nullptr});
      continue;
    }
    Copy copy{staging_like(*side_, tensor), std::make_unique<Event>(tensor.device())};
    start_download(*side_, tensor, copy.host);
    copy.done->record(*side_);
    bytes_on_the_way_ += tensor.bytes();
    copies_.push_back(std::move(copy));
  }
}

Tensor HostCopies::next() {
  check(!copies_.empty(), "HostCopies: there are no more than", tensors_.size());
  Copy copy = std::move(copies_.front());
  copies_.pop_front();
  if (copy.done) {
    copy.done->synchronize();
    bytes_on_the_way_ -= copy.host.bytes();
  }
  start_more();
  return copy.host;
}

}  // namespace tessera
