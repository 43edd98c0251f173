// SPDX-License-Identifier: Apache-2.0
// A Stream is an ordered queue of work on one Device; every kernel takes one first. A CPU stream
// runs each call at once on the calling thread (DESIGN decision: stack traces and debuggers work).
// All streams that a thread makes for one GPU are the same queue unless asked otherwise: its work
// there has one order, and memory that it frees is soon its own again (kernels/base/buffer.h).
// An Event is a point in a stream, for other streams to wait for and, if made so, for measuring
// time. Not thread-safe: one thread drives one Stream.
#pragma once

#include <chrono>
#include <memory>

#include "kernels/base/accelerator.h"
#include "kernels/base/device.h"

namespace tessera {

struct Backend;  // kernels/backend.h: the table of kernels

class Stream {
 public:
  enum class Queue {
    of_thread,      // the calling thread's
    communication,  // one of its own beside it, for that purpose: order the two by Events
    copies,         // likewise
  };
  explicit Stream(Device device, Queue queue = Queue::of_thread);
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream();

  Device device() const { return device_; }
  Queue purpose() const { return purpose_; }  // lanes of a trace are told apart by it
  const Backend& backend() const { return *backend_; }
  void synchronize();  // returns when all work queued so far is done

  // The accelerator's queue; null on the host and on the dry device.
  Accelerator::Queue* queue() const { return queue_.get(); }

 private:
  Device device_;
  Queue purpose_;
  const Backend* backend_;
  std::shared_ptr<Accelerator::Queue> queue_;
};

class Event {
 public:
  explicit Event(Device device, Timing timing = Timing::off);
  // Takes the place of an earlier record. REQUIRES a stream of this device.
  void record(Stream& stream);
  // What is queued in `stream` from now on waits for the recorded point; returns at once.
  void hold(Stream& stream) const;
  bool reached() const;      // true also when never recorded
  void synchronize() const;  // returns when it is reached
  // REQUIRES that both were made with Timing::on, recorded and reached.
  double milliseconds_since(const Event& earlier) const;

 private:
  Device device_;
  std::chrono::steady_clock::time_point time_;  // on the host
  std::shared_ptr<Accelerator::Mark> mark_;     // null on the host
};

}  // namespace tessera
