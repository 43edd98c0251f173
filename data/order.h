// SPDX-License-Identifier: Apache-2.0
// In which order samples are drawn: a permutation that is computed, never stored. Sample i of the
// run is a pure function of (seed, i), so that the order is the same on any number of ranks and a
// run resumes from a single number.
//
// Epoch e is a permutation of all windows: a Feistel network on the smallest even number of bits
// that holds them, with Philox as round function, walked along its cycle until it falls on a window
// (Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002). O(1) time and memory.
#pragma once

#include <cstdint>

namespace tessera {

class Order {
 public:
  // REQUIRES num_windows >= 1. `stream` tells apart the sources of a mixture; with shuffle false
  // every epoch is 0, 1, 2 ...
  Order(int64_t num_windows, uint64_t seed, uint64_t stream, bool shuffle);

  int64_t window(int64_t sample) const;  // sample >= 0, over all epochs; thread-safe
  int64_t num_windows() const { return num_windows_; }

 private:
  uint64_t permute(uint64_t value, uint64_t epoch) const;
  int64_t num_windows_;
  uint64_t seed_, stream_;
  bool shuffle_;
  int half_bits_;
};

}  // namespace tessera
