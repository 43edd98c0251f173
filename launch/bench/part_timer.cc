// SPDX-License-Identifier: Apache-2.0
#include "launch/bench/part_timer.h"

namespace tessera {
namespace {

// Returns null for an event that does next to nothing on one rank, or has parts of its own.
const char* part_of(StepEvent event) {
  switch (event) {
    case StepEvent::zero_gradients: return "zero gradients";
    case StepEvent::measure: return "gradient norm";
    case StepEvent::update_weights: return "optimizer";
    default: return nullptr;
  }
}

}  // namespace

void PartTimer::end_step() {
  constexpr double kSecond = 1e-3;  // of a millisecond
  for (Part& part : parts_)
    part.seconds.push_back(part.end.milliseconds_since(part.start) * kSecond);
}

void PartTimer::around(StepEvent event, const std::function<void()>& work) {
  const char* const part = part_of(event);
  if (part == nullptr) return work();
  start(part);
  work();
  end();
}

PipelineStage& PartTimer::passes(PipelineStage& own) {
  own_ = &own;
  return *this;
}

Tensor PartTimer::forward(int chunk, int micro, const Tensor& x) {
  if (micro + 1 == num_micro_) {
    if (micro > 0) end();
    start("forward, loss head");
  } else if (micro == 0) {
    start(kBeforeTheLast);
  }
  Tensor y = own_->forward(chunk, micro, x);
  if (micro + 1 == num_micro_) end();
  return y;
}

Tensor PartTimer::backward(int chunk, int micro, const Tensor& dy) {
  const bool last = micro + 1 == num_micro_;
  if (last) start("backward");
  Tensor dx = own_->backward(chunk, micro, dy);
  if (last) end();
  return dx;
}

Tensor PartTimer::backward_input(int chunk, int micro, const Tensor& dy) {
  return own_->backward_input(chunk, micro, dy);
}

void PartTimer::backward_weight(int chunk, int micro) {
  own_->backward_weight(chunk, micro);
}

Tensor PartTimer::boundary(int micro) {
  return own_->boundary(micro);
}

void PartTimer::gather_weights(int chunk) {
  own_->gather_weights(chunk);
}

void PartTimer::release_weights(int chunk) {
  own_->release_weights(chunk);
}

void PartTimer::start(const char* name) {
  const Device device = stream_.device();
  if (next_ == parts_.size())
    parts_.push_back({name, Event(device, Timing::on), Event(device, Timing::on)});
  parts_[next_].start.record(stream_);
}

void PartTimer::end() {
  parts_[next_++].end.record(stream_);
}

}  // namespace tessera
