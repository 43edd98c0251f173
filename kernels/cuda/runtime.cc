// SPDX-License-Identifier: Apache-2.0
// kernels/base/accelerator.h over the CUDA runtime. A Queue is a cudaStream_t, a Mark a
// cudaEvent_t, a Graph a cudaGraphExec_t: nothing is wrapped. Devices are numbered as CUDA does,
// $CUDA_VISIBLE_DEVICES included. Calls that name no device may come from any thread, such as the
// watchdog's, so each sees first that its thread has this process's device (thread_device.h).
#include <cstdio>
#include <string>

#include <cuda_runtime_api.h>

#include "kernels/cuda/backend.h"
#include "kernels/cuda/handles.h"
#include "kernels/cuda/nvtx.h"
#include "kernels/cuda/thread_device.h"
#include "kernels/cuda/versions.h"
#include "kernels/plugin_abi.h"

namespace tessera::cuda {
namespace {

// The oldest driver series that runs this major version of CUDA (CUDA Toolkit release notes, table
// of minor-version compatibility).
const char* oldest_driver() {
  constexpr int kCuda13 = 13000;
  return CUDART_VERSION >= kCuda13 ? "580" : "525";
}

cudaStream_t stream_of(Accelerator::Queue* queue) {
  return reinterpret_cast<cudaStream_t>(queue);
}
cudaEvent_t event_of(Accelerator::Mark* mark) {
  return reinterpret_cast<cudaEvent_t>(mark);
}

cudaGraphExec_t exec_of(Accelerator::Graph* graph) {
  return reinterpret_cast<cudaGraphExec_t>(graph);
}

cudaMemcpyKind kind_of(CopyDirection direction) {
  switch (direction) {
    case CopyDirection::to_device: return cudaMemcpyHostToDevice;
    case CopyDirection::to_host: return cudaMemcpyDeviceToHost;
    case CopyDirection::on_device: return cudaMemcpyDeviceToDevice;
  }
  return cudaMemcpyDefault;
}

class Runtime : public Accelerator {
 public:
  Runtime() : result_(cudaGetDeviceCount(&count_)) {
    if (result_ != cudaSuccess) count_ = 0;
    (void)cudaGetLastError();
  }

  std::string libraries() const override { return library_versions(); }

  std::string problem() const override {
    const std::string name = std::string(" (") + cudaGetErrorName(result_) + ").";
    if (result_ == cudaErrorInsufficientDriver || result_ == cudaErrorStubLibrary)
      return "the driver is missing or too old" + name +
             " Needs NVIDIA driver >= " + oldest_driver() + ".";
    if (result_ == cudaErrorNoDevice || (result_ == cudaSuccess && count_ == 0))
      return "there is no GPU that this process may use (cudaErrorNoDevice). See nvidia-smi and "
             "CUDA_VISIBLE_DEVICES.";
    if (result_ != cudaSuccess)
      return std::string("the GPUs do not answer: ") + cudaGetErrorString(result_) + name;
    return {};
  }

  int count() const override { return count_; }

  DeviceFacts facts(int device) const override {
    cudaDeviceProp properties{};
    check(cudaGetDeviceProperties(&properties, device), "asking for a device's properties");
    std::string identity;
    for (const char byte : properties.uuid.bytes) {
      constexpr int kDigits = 3;
      char digits[kDigits];
      std::snprintf(digits, sizeof digits, "%02x", static_cast<unsigned char>(byte));
      identity += digits;
    }
    return {.name = properties.name,
            .memory_bytes = static_cast<int64_t>(properties.totalGlobalMem),
            .capability_major = properties.major,
            .capability_minor = properties.minor,
            .multiprocessors = properties.multiProcessorCount,
            .identity = identity};
  }

  DeviceMemory memory(int device) const override {
    const CurrentDevice current(device);
    size_t free = 0, total = 0;
    check(cudaMemGetInfo(&free, &total), "asking for free memory");
    return {static_cast<int64_t>(free), static_cast<int64_t>(total)};
  }

  const Backend& backend() const override { return cuda::backend(); }
  void set_tf32(int device, bool wanted) override { cuda::set_tf32(device, wanted); }
  bool tf32(int device) const override { return cuda::tf32(device); }

  std::byte* allocate(int device, int64_t bytes) override {
    const CurrentDevice current(device);
    void* memory = nullptr;
    const cudaError_t result = cudaMalloc(&memory, static_cast<size_t>(bytes));
    return fits(result, "allocating device memory") ? static_cast<std::byte*>(memory) : nullptr;
  }
  void release(int device, std::byte* memory) noexcept override {
    // Without CurrentDevice, which throws; the address says which device it is of.
    (void)device;
    enter_thread();
    (void)cudaFree(memory);
  }
  std::byte* allocate_pinned(int64_t bytes) override {
    enter_thread();
    void* memory = nullptr;
    const cudaError_t result =
        cudaHostAlloc(&memory, static_cast<size_t>(bytes), cudaHostAllocPortable);
    return fits(result, "allocating pinned memory") ? static_cast<std::byte*>(memory) : nullptr;
  }
  void release_pinned(std::byte* memory) noexcept override {
    enter_thread();
    (void)cudaFreeHost(memory);
  }

  // The thread's current device stays the one that it made a queue for last: a rank uses one.
  Queue* make_queue(int device) override {
    choose_device(device);
    cudaStream_t stream = nullptr;
    check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "making a stream");
    return reinterpret_cast<Queue*>(stream);
  }
  void destroy(Queue* queue) noexcept override {
    enter_thread();
    (void)cudaStreamDestroy(stream_of(queue));
  }
  void synchronize(Queue* queue) override {
    enter_thread();
    check(cudaStreamSynchronize(stream_of(queue)), "waiting for a stream");
  }
  void copy(Queue* queue, CopyDirection direction, void* to, const void* from,
            const CopyArea& area) override {
    enter_thread();
    // One piece has no pitch, which CUDA bounds by 2 GiB.
    const bool whole =
        area.rows == 1 || (area.to_pitch == area.row_bytes && area.from_pitch == area.row_bytes);
    if (whole) {
      check(cudaMemcpyAsync(to, from, static_cast<size_t>(area.rows * area.row_bytes),
                            kind_of(direction), stream_of(queue)),
            "copying");
      return;
    }
    check(
        cudaMemcpy2DAsync(to, static_cast<size_t>(area.to_pitch), from,
                          static_cast<size_t>(area.from_pitch), static_cast<size_t>(area.row_bytes),
                          static_cast<size_t>(area.rows), kind_of(direction), stream_of(queue)),
        "copying");
  }

  Mark* make_mark(int device, Timing timing) override {
    const CurrentDevice current(device);
    cudaEvent_t event = nullptr;
    const unsigned flags = timing == Timing::on ? cudaEventDefault : cudaEventDisableTiming;
    check(cudaEventCreateWithFlags(&event, flags), "making an event");
    return reinterpret_cast<Mark*>(event);
  }
  void destroy(Mark* mark) noexcept override {
    enter_thread();
    (void)cudaEventDestroy(event_of(mark));
  }
  void record(Mark* mark, Queue* queue) override {
    enter_thread();
    check(cudaEventRecord(event_of(mark), stream_of(queue)), "recording an event");
  }
  void wait(Queue* queue, Mark* mark) override {
    enter_thread();
    check(cudaStreamWaitEvent(stream_of(queue), event_of(mark), 0), "waiting for an event");
  }
  bool reached(Mark* mark) const override {
    enter_thread();
    const cudaError_t result = cudaEventQuery(event_of(mark));
    if (result == cudaErrorNotReady) {
      (void)cudaGetLastError();
      return false;
    }
    check(result, "asking for an event");
    return true;
  }
  void synchronize(Mark* mark) override {
    enter_thread();
    check(cudaEventSynchronize(event_of(mark)), "waiting for an event");
  }
  double milliseconds(Mark* from, Mark* to) const override {
    enter_thread();
    float time = 0;
    check(cudaEventElapsedTime(&time, event_of(from), event_of(to)), "timing events");
    return static_cast<double>(time);
  }

  // Other threads (loaders, checkpoints) go on using the device meanwhile.
  void begin_recording(Queue* queue) override {
    enter_thread();
    check(cudaStreamBeginCapture(stream_of(queue), cudaStreamCaptureModeThreadLocal),
          "beginning to record a graph");
  }
  Graph* end_recording(Queue* queue) override {
    enter_thread();
    Handle<cudaGraph_t, cudaGraphDestroy> recorded;
    check(cudaStreamEndCapture(stream_of(queue), recorded.out()), "recording a graph");
    cudaGraphExec_t ready = nullptr;
    check(cudaGraphInstantiateWithFlags(&ready, recorded.get(), 0), "making a graph ready");
    return reinterpret_cast<Graph*>(ready);
  }
  void launch(Graph* graph, Queue* queue) override {
    enter_thread();
    check(cudaGraphLaunch(exec_of(graph), stream_of(queue)), "launching a graph");
  }
  void destroy(Graph* graph) noexcept override {
    enter_thread();
    (void)cudaGraphExecDestroy(exec_of(graph));
  }

 private:
  static bool fits(cudaError_t result, const char* what) {
    if (result == cudaErrorMemoryAllocation) {
      (void)cudaGetLastError();
      return false;
    }
    check(result, what);
    return true;
  }

  int count_ = 0;
  cudaError_t result_;
};

}  // namespace
}  // namespace tessera::cuda

extern "C" const char* tessera_plugin_abi() {
  static const std::string abi = tessera::compiled_plugin_abi();
  return abi.c_str();
}

// Never destroyed: buffers in static objects outlive any order we could choose.
extern "C" tessera::Accelerator* tessera_plugin_accelerator() {
  static auto* runtime = [] {
    tessera::cuda::tell_profilers_of_ranges();
    return new tessera::cuda::Runtime;
  }();
  return runtime;
}
