// SPDX-License-Identifier: Apache-2.0
// Large collectives without a copy between the ranks (parallel/transport/peer_memory.h): each rank
// says where its tensors lie; when all have, it reads the others' and writes its result where it
// belongs, with no further word until all are done. The memory traffic is a third of that over
// stages. Where a rank's tensors are private, all take the staged rounds instead.
#pragma once

#include "parallel/transport/shared_rounds.h"

namespace tessera {

// Below this, telling the places costs more than it saves.
inline constexpr int64_t kLeastDirect = int64_t{1} << 20;

// Bits and arguments as those of parallel/transport/shared_rounds.h, which they fall back to.
std::shared_ptr<Rounds> direct_all_reduce(const SharedBoard& board, const Tensor& in,
                                          const Tensor& out, Reduce op);
std::shared_ptr<Rounds> direct_reduce_scatter(const SharedBoard& board, const Tensor& in,
                                              const Cut& cut, const Tensor& out, Reduce op);
std::shared_ptr<Rounds> direct_all_gather(const SharedBoard& board, const Tensor& in,
                                          const Cut& cut, const Tensor& out);

}  // namespace tessera
