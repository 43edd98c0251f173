// SPDX-License-Identifier: Apache-2.0
#include "kernels/transfer.h"

#include <cstring>
#include <deque>
#include <utility>

#include "kernels/base/graph.h"
#include "kernels/base/trace.h"
#include "kernels/copy.h"
#include "kernels/cuda_plugin.h"

namespace tessera {
namespace {

bool is_dry(const Stream& stream) {
  return stream.device().kind == Device::Kind::dry;
}

void refuse_dry(const Stream& stream) {
  check(!is_dry(stream), "download: the dry device has no values");
}

// Staging memory that a copy to the device still reads.
class OnTheWay {
 public:
  static OnTheWay& of_thread() {
    thread_local OnTheWay copies;
    return copies;
  }
  void keep(Stream& stream, Tensor tensor) {
    while (!copies_.empty() && copies_.front().event.reached()) copies_.pop_front();
    copies_.push_back({Event(stream.device()), std::move(tensor)});
    copies_.back().event.record(stream);
  }
  ~OnTheWay() {
    try {
      for (const Copy& copy : copies_) copy.event.synchronize();
    } catch (const Error&) {
      return;  // the device failed, and with it the copy
    }
  }

 private:
  struct Copy {
    Event event;
    Tensor tensor;
  };
  std::deque<Copy> copies_;
};

void check_alike(const char* what, const Tensor& in, const Tensor& out) {
  check(in.dtype() == out.dtype() && in.rows() == out.rows() && in.columns() == out.columns(), what,
        in.shape(), "to", out.shape());
}

void queue_copy(Stream& stream, CopyDirection direction, const Tensor& in, const Tensor& out) {
  if (in.size() == 0) return;
  refuse_while_recording("a copy between the host and the device");  // the host's side moves on
  const int64_t size = size_of(in.dtype());
  CopyArea area{.rows = in.rows(),
                .row_bytes = in.columns() * size,
                .to_pitch = out.pitch() * size,
                .from_pitch = in.pitch() * size};
  const trace::Range range(stream, "copy", [&] {
    return direction == CopyDirection::to_host ? "copy to the host" : "copy to the device";
  });
  if (in.contiguous() && out.contiguous()) area = {1, in.bytes(), in.bytes(), in.bytes()};
  cuda_accelerator().copy(stream.queue(), direction, out.data(), in.data(), area);
}

}  // namespace

Tensor staging_like(Stream& stream, const Tensor& x) {
  std::vector<int64_t> extents;
  for (int dim = 0; dim < x.dims(); ++dim) extents.push_back(x.extent(dim));
  return Tensor(Buffer::staging(stream.device(), x.bytes()), x.dtype(), 0, std::move(extents));
}

void start_download(Stream& stream, const Tensor& in, const Tensor& out) {
  check_alike("download:", in, out);
  if (is_dry(stream)) return;
  if (stream.device().is_host()) return copy(stream, in, out);
  queue_copy(stream, CopyDirection::to_host, in, out);
}

void hand_over(Stream& stream, Tensor in, const Tensor& out) {
  check_alike("upload:", in, out);
  if (is_dry(stream)) return;
  if (stream.device().is_host()) return copy(stream, in, out);
  queue_copy(stream, CopyDirection::to_device, in, out);
  OnTheWay::of_thread().keep(stream, std::move(in));
}

void upload(Stream& stream, const Tensor& in, const Tensor& out) {
  if (is_dry(stream) || stream.device().is_host()) return hand_over(stream, in, out);
  const Tensor staged = staging_like(stream, in);
  Stream host(Device{});
  copy(host, in, staged);
  hand_over(stream, staged, out);
}

void download(Stream& stream, const Tensor& in, const Tensor& out) {
  refuse_dry(stream);
  if (stream.device().is_host()) return start_download(stream, in, out);
  const Tensor staged = staging_like(stream, in);
  start_download(stream, in, staged);
  stream.synchronize();
  Stream host(Device{});
  copy(host, staged, out);
}

Tensor on_host(Stream& stream, const Tensor& in) {
  if (in.device().is_host()) return in;
  refuse_dry(stream);
  const Tensor out = staging_like(stream, in);
  start_download(stream, in, out);
  stream.synchronize();
  return out;
}

Tensor on_device(Stream& stream, const Tensor& in, MemoryClass memory_class) {
  if (stream.device().is_host()) return in;
  const Tensor out(stream.device(), in.dtype(), {in.rows(), in.columns()}, memory_class);
  upload(stream, in, out);
  return out;
}

void upload_values(Stream& stream, const void* values, int64_t count, DType dtype,
                   const Tensor& out) {
  check(out.dtype() == dtype && out.size() == count && out.contiguous(), "upload:", count,
        "values of", name(dtype), "to", out.shape());
  if (is_dry(stream) || count == 0) return;
  const bool host = stream.device().is_host();
  const Tensor to = host ? out : staging_like(stream, out.flat());
  std::memcpy(to.data(), values, static_cast<size_t>(out.bytes()));
  if (!host) hand_over(stream, to, out.flat());
}

void download_values(Stream& stream, const Tensor& in, DType dtype, void* values) {
  check(in.dtype() == dtype && in.contiguous(), "download: values of", name(dtype), "from",
        in.shape());
  refuse_dry(stream);
  if (in.size() == 0) return;
  const Tensor from = on_host(stream, in.flat());
  std::memcpy(values, from.data(), static_cast<size_t>(in.bytes()));
}

}  // namespace tessera
