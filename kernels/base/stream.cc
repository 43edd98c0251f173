// SPDX-License-Identifier: Apache-2.0
#include "kernels/base/stream.h"

#include <map>

#include "kernels/backend.h"
#include "kernels/base/check.h"
#include "kernels/base/thread_lane.h"
#include "kernels/cuda_plugin.h"

namespace tessera {
namespace {

std::map<Device::Kind, const Backend*>& replaced_backends() {
  static std::map<Device::Kind, const Backend*> tables;
  return tables;
}

const Backend& backend_of(Device device) {
  const auto replaced = replaced_backends().find(device.kind);
  if (replaced != replaced_backends().end()) return *replaced->second;
  switch (device.kind) {
    case Device::Kind::cpu: return cpu_backend();
    case Device::Kind::reference: return reference_backend();
    case Device::Kind::dry: return dry_backend();
    case Device::Kind::cuda: return cuda_accelerator().backend();
  }
  fail(ErrorKind::internal, "Stream: no such kind of device", static_cast<int>(device.kind));
}

bool has_queues(Device device) {
  return device.kind == Device::Kind::cuda;
}

}  // namespace

void replace_backend(Device::Kind kind, const Backend* table) {
  if (table != nullptr)
    replaced_backends()[kind] = table;
  else
    replaced_backends().erase(kind);
}

Stream::Stream(Device device, Queue queue)
    : device_(device), purpose_(queue), backend_(&backend_of(device)) {
  if (!has_queues(device)) return;
  queue_ =
      queue == Queue::of_thread ? ThreadLane::mine().queue(device.index) : make_queue(device.index);
}

Stream::~Stream() = default;

// Host streams have run everything already.
void Stream::synchronize() {
  if (queue_) cuda_accelerator().synchronize(queue_.get());
}

Event::Event(Device device, Timing timing) : device_(device) {
  if (!has_queues(device)) return;
  Accelerator& accelerator = cuda_accelerator();
  mark_ = {accelerator.make_mark(device.index, timing),
           [&accelerator](Accelerator::Mark* mark) { accelerator.destroy(mark); }};
}

void Event::record(Stream& stream) {
  check(stream.device() == device_, "Event: made for", name(device_), "but recorded on",
        name(stream.device()));
  if (mark_)
    cuda_accelerator().record(mark_.get(), stream.queue());
  else
    time_ = std::chrono::steady_clock::now();
}

// Whatever the host does next is later already; a host's event is reached when it is recorded.
void Event::hold(Stream& stream) const {
  if (!mark_) return;
  if (stream.queue() != nullptr)
    cuda_accelerator().wait(stream.queue(), mark_.get());
  else
    synchronize();
}

bool Event::reached() const {
  return !mark_ || cuda_accelerator().reached(mark_.get());
}

void Event::synchronize() const {
  if (mark_) cuda_accelerator().synchronize(mark_.get());
}

double Event::milliseconds_since(const Event& earlier) const {
  check(device_ == earlier.device_, "Event: of", name(device_), "but the earlier one is of",
        name(earlier.device_));
  if (mark_) return cuda_accelerator().milliseconds(earlier.mark_.get(), mark_.get());
  return std::chrono::duration<double, std::milli>(time_ - earlier.time_).count();
}

}  // namespace tessera
