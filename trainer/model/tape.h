// SPDX-License-Identifier: Apache-2.0
// What one microbatch must remember between the forward pass and the two halves of the backward
// pass: one frame per layer, of the layer's own type. A tape that is not empty at the end of a step
// is a bug. Not thread-safe.
#pragma once

#include <memory>
#include <unordered_map>

#include "kernels/base/check.h"

namespace tessera {

class Tape {
 public:
  // The frame of `owner`; made on first use. Frame is the same type at every call for one owner.
  template <typename Frame>
  Frame& frame(const void* owner) {
    std::unique_ptr<Holder>& holder = frames_[owner];
    if (!holder) holder = std::make_unique<Typed<Frame>>();
    auto* typed = dynamic_cast<Typed<Frame>*>(holder.get());
    check(typed != nullptr, "Tape: a layer asked for a frame of another type");
    return typed->frame;
  }
  void release(const void* owner) { frames_.erase(owner); }
  bool empty() const { return frames_.empty(); }
  size_t size() const { return frames_.size(); }

 private:
  struct Holder {
    virtual ~Holder() = default;
  };
  template <typename Frame>
  struct Typed : Holder {
    Frame frame;
  };
  std::unordered_map<const void*, std::unique_ptr<Holder>> frames_;
};

}  // namespace tessera
