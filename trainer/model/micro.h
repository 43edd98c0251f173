// SPDX-License-Identifier: Apache-2.0
// One microbatch as every layer sees it: the tokens and what is known about their places. Owns no
// activations. Rows are sequence after sequence, position after position.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/base/stream.h"
#include "kernels/base/tensor.h"

namespace tessera {

struct Micro {
  int64_t num_sequences = 0;
  int64_t sequence_length = 0;
  Tensor tokens;           // (rows) i32
  Tensor targets;          // (rows) i32, negative: not counted; empty: no loss is asked for
  Tensor positions;        // (rows) i32
  Tensor document_starts;  // (rows) i32, first visible position of the row's sequence; may be empty
  // Gradient of the step's loss with respect to one token's loss, but for the loss scale.
  double dloss = 0;
  Tensor loss_scale;  // (1) f64, on the device; empty: 1
  // The same with respect to the auxiliary loss of one sequence, which is averaged over the
  // sequences of the global batch: dloss * its target tokens / its sequences (over all ranks). The
  // product of sequence_scale (n) f64, on the device, is a factor of it.
  double dsequence = 0;
  Tensor sequence_scale;
  int64_t first_row = -1;      // in the step's global batch; negative: not part of a step
  double mtp_loss_weight = 0;  // of the further tokens' mean loss (mtp.h)

  int64_t rows() const { return num_sequences * sequence_length; }
};

// A microbatch in the host's memory. Spans, because a model does not know which reader of text
// (data/packer.h) or which request they come from.
struct HostMicro {
  int64_t num_sequences = 0;
  int64_t sequence_length = 0;
  std::span<const int32_t> tokens;           // (rows)
  std::span<const int32_t> targets;          // (rows), negative: not counted; empty: none
  std::span<const int32_t> positions;        // (rows)
  std::span<const int32_t> document_starts;  // (rows), or empty
};
// Moves it to the stream's device.
Micro to_micro(Stream& stream, const HostMicro& host);

}  // namespace tessera
