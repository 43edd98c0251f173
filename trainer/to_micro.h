// SPDX-License-Identifier: Apache-2.0
// The loader's microbatch becomes the one that layers see here, since the model knows no reader of
// text and data/ knows no model.
#pragma once

#include "data/packer.h"
#include "trainer/model/micro.h"

namespace tessera {

// Moves a microbatch to the stream's device.
inline Micro to_micro(Stream& stream, const MicroBatch& batch, int64_t sequence_length) {
  return to_micro(stream, HostMicro{.num_sequences = batch.num_sequences,
                                    .sequence_length = sequence_length,
                                    .tokens = batch.tokens,
                                    .targets = batch.targets,
                                    .positions = batch.positions,
                                    .document_starts = batch.document_starts});
}

}  // namespace tessera
