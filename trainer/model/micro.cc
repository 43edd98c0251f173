// SPDX-License-Identifier: Apache-2.0
#include "trainer/model/micro.h"

#include "kernels/transfer.h"

namespace tessera {
namespace {

Tensor on_the_device(Stream& stream, std::span<const int32_t> values) {
  if (values.empty()) return {};
  const auto count = static_cast<int64_t>(values.size());
  const Tensor out(stream.device(), DType::i32, {count}, MemoryClass::activations);
  upload_values(stream, values.data(), count, DType::i32, out);
  return out;
}

}  // namespace

Micro to_micro(Stream& stream, const HostMicro& host) {
  Micro micro;
  micro.num_sequences = host.num_sequences;
  micro.sequence_length = host.sequence_length;
  micro.tokens = on_the_device(stream, host.tokens);
  micro.targets = on_the_device(stream, host.targets);
  micro.positions = on_the_device(stream, host.positions);
  micro.document_starts = on_the_device(stream, host.document_starts);
  return micro;
}

}  // namespace tessera
