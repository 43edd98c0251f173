// SPDX-License-Identifier: Apache-2.0
// Between the host's memory and a stream's device: the only way by which other rooms read or write
// the elements of a tensor that is not the host's own. On a host stream the same calls are plain
// copies, or nothing where the tensor itself will do.
//
// upload() returns when the host's values may change; the device has them in the stream's order.
// download() returns when the host has the values, so it waits for all that the stream was given:
// keep it out of a steady step. The dry device has no values: there
// upload() and start_download() do nothing, download() and on_host() throw Error{internal}.
#pragma once

#include <vector>

#include "kernels/base/stream.h"
#include "kernels/base/tensor.h"

namespace tessera {

// in: in the host's memory; out: on the stream's device; same shape and type, either may have a
// pitch.
void upload(Stream& stream, const Tensor& in, const Tensor& out);
// in: on the stream's device; out: in the host's memory.
void download(Stream& stream, const Tensor& in, const Tensor& out);

// `in` itself where the host can read it, else a copy that it can.
Tensor on_host(Stream& stream, const Tensor& in);
// `in` itself where the stream's device can read it, else a copy that it can. in: of the host.
Tensor on_device(Stream& stream, const Tensor& in, MemoryClass memory_class);

// The same without waiting, through memory of staging_like(): complete once the stream is
// synchronised or an Event recorded behind it is reached. hand_over() keeps its input until then.
Tensor staging_like(Stream& stream, const Tensor& x);  // of the host, dense, with x's extents
void start_download(Stream& stream, const Tensor& in, const Tensor& out);
void hand_over(Stream& stream, Tensor in, const Tensor& out);

// write(host) fills a tensor in the host's memory with what becomes out's elements: out itself
// where the host can write it.
template <typename Write>
void write_from_host(Stream& stream, const Tensor& out, Write write) {
  if (out.device().is_host()) return write(out);
  const Tensor host = staging_like(stream, out);
  write(host);
  hand_over(stream, host, out);
}

// Plain values; the tensor is contiguous and of their number and type.
void upload_values(Stream& stream, const void* values, int64_t count, DType dtype,
                   const Tensor& out);
void download_values(Stream& stream, const Tensor& in, DType dtype, void* values);
template <typename T>
void upload(Stream& stream, const std::vector<T>& values, const Tensor& out) {
  upload_values(stream, values.data(), static_cast<int64_t>(values.size()), dtype_of<T>(), out);
}
template <typename T>
std::vector<T> download(Stream& stream, const Tensor& in) {
  std::vector<T> values(static_cast<size_t>(in.size()));
  download_values(stream, in, dtype_of<T>(), values.data());
  return values;
}
// A new tensor (values.size()) on the stream's device; empty for no values.
template <typename T>
Tensor uploaded(Stream& stream, const std::vector<T>& values,
                MemoryClass memory_class = MemoryClass::activations) {
  if (values.empty()) return {};
  const Tensor out(stream.device(), dtype_of<T>(), {static_cast<int64_t>(values.size())},
                   memory_class);
  upload(stream, values, out);
  return out;
}

}  // namespace tessera
