// SPDX-License-Identifier: Apache-2.0
// A plug-in in the place of libtessera_cuda.so ($TESSERA_CUDA_PLUGIN) for machines without a GPU:
// kernels are the CPU backend's, so results must have its bits, but everything around them is as
// with a GPU. The host cannot touch device memory (arena.h). Copies are not done when they are
// asked for: one to the device reads its source when the next thing happens in its queue, one to
// the host arrives when its queue or a mark behind it is waited for, and until then its target
// holds garbage. So what a program forgets to wait for, a test sees. Ranks with a device each talk
// over parallel/transport/nccl_communicator.cc and the stand-in of NCCL
// (tests/support/nccl_stand_in), whose results arrive when the next thing but a mark happens in
// their queue, or it is waited for. Graphs (recording.h) hold addresses and no memory, and
// recording refuses what CUDA cannot record.
//
// $TESSERA_STAND_IN_MEMORY    bytes of each device (1 GiB)
// $TESSERA_STAND_IN_DEVICES   their number (1)
// $TESSERA_STAND_IN_PROBLEM   what Accelerator::problem() says
// $TESSERA_STAND_IN_LACKS     the name of a library that it says it was built without
//
// tessera_stand_in_counts(): how often the host waited so far for queues and for marks, how many
// marks with a time were made, and how often such were recorded; graphs recorded so far, launched,
// and not destroyed yet.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include <nccl.h>

#include "kernels/cuda_plugin.h"
#include "kernels/kernel_list.h"
#include "kernels/plugin_abi.h"
#include "tests/support/cuda_stand_in/arena.h"
#include "tests/support/cuda_stand_in/recording.h"

namespace tessera {

struct Accelerator::Graph {
  stand_in::Calls calls;
};

struct Accelerator::Queue {
  struct Copy {
    CopyDirection direction = CopyDirection::to_device;
    std::byte* to = nullptr;
    const std::byte* from = nullptr;
    CopyArea area{};
    std::vector<std::byte> taken{};  // to the host: what left the device
    void (*later)(void*) = nullptr;  // instead of a copy
    void* data = nullptr;            // for it
  };
  std::deque<Copy> copies;
  std::shared_ptr<int64_t> finished = std::make_shared<int64_t>(0);  // copies that have arrived
  std::unique_ptr<Graph> recording{};
};

struct Accelerator::Mark {
  Timing timing;
  Queue* queue = nullptr;                       // gone when all of its copies have arrived
  std::shared_ptr<int64_t> finished = nullptr;  // the queue's; null: never recorded
  int64_t after = 0;                            // copies of the queue
  double milliseconds = 0;                      // of the device's clock
};

namespace stand_in {
namespace {

constexpr std::byte kGarbage{0xa5};

std::atomic<int64_t> queue_waits{0}, mark_waits{0}, timed_marks{0}, timed_records{0};
std::atomic<int64_t> graphs_recorded{0}, graphs_launched{0}, graphs_alive{0};

// A quarter faster than the host's.
double device_clock() {
  constexpr double kRate = 1.25;
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return kRate * std::chrono::duration<double, std::milli>(now).count();
}

int64_t environment(const char* name, int64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::atoll(text);
}

// All devices share one range of addresses and have the capacity of one.
Arena& arena() {
  static Arena& the_only = *new Arena(environment("TESSERA_STAND_IN_MEMORY", int64_t{1} << 30));
  return the_only;
}

void move_area(std::byte* to, int64_t to_pitch, const std::byte* from, int64_t from_pitch,
               const CopyArea& area) {
  for (int64_t row = 0; row < area.rows; ++row)
    std::memcpy(to + row * to_pitch, from + row * from_pitch, static_cast<size_t>(area.row_bytes));
}

// What happens in a queue: a mark is set, work is added, or somebody waits for what is in it.
enum class Next { mark, work, wait };

// Of this queue, in order: copies to the device are done; before work, what NCCL left; when waited
// for, copies to the host too.
void proceed(Accelerator::Queue& queue, Next next) {
  check(queue.recording == nullptr, ErrorKind::peer,
        "stand-in: operation not permitted when stream is capturing");
  if (queue.copies.empty()) return;
  const Open open(arena());
  for (auto& copy : queue.copies) {
    if (copy.later != nullptr) {
      if (next == Next::mark) return;
      std::exchange(copy.later, nullptr)(copy.data);
    } else if (copy.to != nullptr && copy.direction != CopyDirection::to_host) {
      move_area(copy.to, copy.area.to_pitch, copy.from, copy.area.from_pitch, copy.area);
      copy.to = nullptr;  // done
    }
  }
  if (next != Next::wait) return;
  for (const auto& copy : queue.copies)
    if (copy.to != nullptr && copy.direction == CopyDirection::to_host)
      move_area(copy.to, copy.area.to_pitch, copy.taken.data(), copy.area.row_bytes, copy.area);
  *queue.finished += static_cast<int64_t>(queue.copies.size());
  queue.copies.clear();
}

template <auto Kernel, typename Pointer>
struct Forward;
template <auto Kernel, typename... Arguments>
struct Forward<Kernel, void (*)(Stream&, Arguments...)> {
  static void call(Stream& stream, Arguments... arguments) {
    if (stream.queue()->recording) {
      stream.queue()->recording->calls.add(cpu_backend().*Kernel, arguments...);
      return;
    }
    proceed(*stream.queue(), Next::work);
    const Open open(arena());
    (cpu_backend().*Kernel)(stream, std::forward<Arguments>(arguments)...);
  }
};

Backend forwarding() {
  Backend backend = cpu_backend();
  backend.name = "stand-in";
  for_each_kernel([&]<auto Kernel>(const char*) {
    using Pointer = std::remove_reference_t<decltype(backend.*Kernel)>;
    backend.*Kernel = Forward<Kernel, Pointer>::call;
  });
  return backend;
}

class StandIn : public Accelerator {
 public:
  std::string libraries() const override { return "CUDA 0.0, stand-in"; }
  std::string problem() const override {
    const char* text = std::getenv("TESSERA_STAND_IN_PROBLEM");
    return text == nullptr ? "" : text;
  }
  int count() const override {
    return static_cast<int>(environment("TESSERA_STAND_IN_DEVICES", 1));
  }
  DeviceFacts facts(int device) const override {
    check(device >= 0 && device < count(), ErrorKind::usage, "stand-in: there is no device",
          device);
    return {.name = "stand-in",
            .memory_bytes = arena().capacity(),
            .capability_major = 9,
            .capability_minor = 0,
            .multiprocessors = 1,
            .identity = "stand-in " + std::to_string(device)};
  }
  DeviceMemory memory(int) const override {
    return {arena().capacity() - arena().used(), arena().capacity()};
  }
  const Backend& backend() const override {
    static const Backend kBackend = forwarding();
    return kBackend;
  }
  // Kept and told, no more: the CPU has no TF32.
  void set_tf32(int, bool wanted) override { tf32_ = wanted; }
  bool tf32(int) const override { return tf32_; }

  std::byte* allocate(int, int64_t bytes) override { return arena().allocate(bytes); }
  void release(int, std::byte* memory) noexcept override { arena().release(memory); }
  std::byte* allocate_pinned(int64_t bytes) override {
    constexpr size_t kAlignment = 64;
    const size_t size = (static_cast<size_t>(bytes) + kAlignment - 1) / kAlignment * kAlignment;
    return static_cast<std::byte*>(std::aligned_alloc(kAlignment, size));
  }
  void release_pinned(std::byte* memory) noexcept override { std::free(memory); }

  Queue* make_queue(int) override { return new Queue; }
  void destroy(Queue* queue) noexcept override {
    proceed(*queue, Next::wait);
    delete queue;
  }
  void synchronize(Queue* queue) override {
    ++queue_waits;
    proceed(*queue, Next::wait);
  }
  void copy(Queue* queue, CopyDirection direction, void* to, const void* from,
            const CopyArea& area) override {
    proceed(*queue, Next::work);
    Queue::Copy copy{direction, static_cast<std::byte*>(to), static_cast<const std::byte*>(from),
                     area};
    if (direction == CopyDirection::to_host) {
      copy.taken.resize(static_cast<size_t>(area.rows * area.row_bytes));
      const Open open(arena());
      move_area(copy.taken.data(), area.row_bytes, copy.from, area.from_pitch, area);
      for (int64_t row = 0; row < area.rows; ++row)
        std::fill_n(copy.to + row * area.to_pitch, area.row_bytes, kGarbage);
    }
    queue->copies.push_back(std::move(copy));
  }

  Mark* make_mark(int, Timing timing) override {
    if (timing == Timing::on) ++timed_marks;
    return new Mark{.timing = timing};
  }
  void destroy(Mark* mark) noexcept override { delete mark; }
  void record(Mark* mark, Queue* queue) override {
    proceed(*queue, Next::mark);
    mark->queue = queue;
    mark->finished = queue->finished;
    mark->after = *queue->finished + static_cast<int64_t>(queue->copies.size());
    if (mark->timing == Timing::off) return;
    ++timed_records;
    mark->milliseconds = device_clock();
  }
  void wait(Queue*, Mark* mark) override { arrive(mark); }
  bool reached(Mark* mark) const override {
    return mark->finished == nullptr || *mark->finished >= mark->after;
  }
  void synchronize(Mark* mark) override {
    ++mark_waits;
    arrive(mark);
  }
  // As strict as cudaEventElapsedTime.
  double milliseconds(Mark* from, Mark* to) const override {
    for (const Mark* mark : {from, to})
      check(mark->timing == Timing::on && mark->finished != nullptr, ErrorKind::peer,
            "stand-in: a mark without a time");
    check(reached(from) && reached(to), ErrorKind::peer, "stand-in: a mark that is not reached");
    return to->milliseconds - from->milliseconds;
  }

  void begin_recording(Queue* queue) override {
    proceed(*queue, Next::mark);
    queue->recording = std::make_unique<Graph>();
  }
  Graph* end_recording(Queue* queue) override {
    ++graphs_recorded;
    ++graphs_alive;
    return std::exchange(queue->recording, nullptr).release();
  }
  void launch(Graph* graph, Queue* queue) override {
    ++graphs_launched;
    proceed(*queue, Next::work);
    const Open open(arena());
    graph->calls.make();
  }
  void destroy(Graph* graph) noexcept override {
    --graphs_alive;
    delete graph;
  }

 private:
  void arrive(Mark* mark) {
    if (!reached(mark)) proceed(*mark->queue, Next::wait);
  }

  std::atomic<bool> tf32_{false};
};

}  // namespace
}  // namespace stand_in
}  // namespace tessera

extern "C" const char* tessera_plugin_abi() {
  static const std::string abi = tessera::compiled_plugin_abi();
  return abi.c_str();
}

extern "C" std::vector<tessera::LackingLibrary> tessera_plugin_lacks() {
  const char* name = std::getenv("TESSERA_STAND_IN_LACKS");
  if (name == nullptr) return {};
  return {{name, "something cannot be done", "build it with " + std::string(name)}};
}

extern "C" void tessera_stand_in_counts(int64_t counts[7]) {
  using namespace tessera::stand_in;
  counts[0] = queue_waits;
  counts[1] = mark_waits;
  counts[2] = timed_marks;
  counts[3] = timed_records;
  counts[4] = graphs_recorded;
  counts[5] = graphs_launched;
  counts[6] = graphs_alive;
}

extern "C" tessera::Accelerator* tessera_plugin_accelerator() {
  static auto* stand_in = new tessera::stand_in::StandIn;
  return stand_in;
}

extern "C" void tessera_stand_in_now(cudaStream_t stream, void (*function)(void*), void* data) {
  auto& queue = *reinterpret_cast<tessera::Accelerator::Queue*>(stream);
  tessera::stand_in::proceed(queue, tessera::stand_in::Next::work);
  const tessera::stand_in::Open open(tessera::stand_in::arena());
  function(data);
}

extern "C" void tessera_stand_in_later(cudaStream_t stream, void (*function)(void*), void* data) {
  auto& queue = *reinterpret_cast<tessera::Accelerator::Queue*>(stream);
  queue.copies.push_back({});
  queue.copies.back().later = function;
  queue.copies.back().data = data;
}
