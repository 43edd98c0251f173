// SPDX-License-Identifier: Apache-2.0
// Rotary position embedding (Su et al., "RoFormer", arXiv:2104.09864), in place on a part of each
// head. Angles come from a table made on the host in double precision, so that YaRN
// (arXiv:2309.00071) is only another table.
#pragma once

#include <vector>

#include "kernels/base/stream.h"
#include "kernels/base/tensor.h"

namespace tessera {

// Which elements of a head form a pair: interleaved (0,1)(2,3)... as DeepSeek and GPT-J have it,
// or half_split (0,d/2)(1,d/2+1)... as Llama has it. Weights made for one are wrong for the other.
enum class RopePairing { interleaved, half_split };

struct Rope {
  int num_heads = 1;
  int head_dim = 0;    // elements from one head to the next within a row
  int offset = 0;      // first rotated element of a head
  int rotary_dim = 0;  // rotated elements of a head, even
  RopePairing pairing = RopePairing::half_split;
  bool inverse = false;  // rotate by the negative angle: the backward pass
};

// x: (rows, num_heads * head_dim) T, rotated in place. positions: (rows) i32.
// table: (max_positions, rotary_dim) accumulation_type(T): cosines of the rotary_dim/2 angles,
// then their sines.
void rope(Stream& stream, const Rope& rope, const Tensor& positions, const Tensor& table,
          const Tensor& x);

// inv_freq[i] = theta^(-2i / rotary_dim), i < rotary_dim / 2.
std::vector<double> rope_inverse_frequencies(int rotary_dim, double theta);

// YaRN ("NTK-by-parts", Peng et al., arXiv:2309.00071, 3.2, as in DeepSeek's modelling code): pairs
// that turn more than beta_fast times in the original length keep their frequency, those that turn
// less than beta_slow times have it divided by the factor, a ramp lies between.
struct Yarn {
  double factor = 1;
  int64_t original_length = 4096;
  double beta_fast = 32;
  double beta_slow = 1;
};
std::vector<double> yarn_inverse_frequencies(int rotary_dim, double theta, const Yarn& yarn);

// 0.1 mscale ln(factor) + 1, or 1 for factors up to 1: what YaRN multiplies attention with.
double yarn_attention_factor(double factor, double mscale);

// The table for positions 0 .. max_positions-1; cosines and sines multiplied by `amplitude`
// (YaRN's attention factor; 1 without). Made on the host; on the dry device the shape alone.
Tensor rope_table(Device device, DType dtype, const std::vector<double>& inverse_frequencies,
                  int64_t max_positions, double amplitude = 1.0);

}  // namespace tessera
