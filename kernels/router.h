// SPDX-License-Identifier: Apache-2.0
// Which experts a token goes to, and with what weight: DeepSeek-V3 (arXiv:2412.19437) eq 13-16,
// DeepSeek-V2 (arXiv:2405.04434) eq 20-22 and 2.2.2, their balance losses and the bias that
// balances without one. E experts, k of them chosen by each of `rows` tokens. Scores, weights and
// gradients are A = f32, or f64 on the reference; experts are i32. A function of one row depends on
// that row alone. Moving rows to experts and back: kernels/permute.h.
#pragma once

#include "kernels/base/stream.h"
#include "kernels/base/tensor.h"

namespace tessera {

enum class Scoring { softmax, sigmoid };

// scores (rows, E) = softmax over the row of logits (rows, E), or the sigmoid of each.
void router_scores(Stream& stream, Scoring scoring, const Tensor& logits, const Tensor& scores);

// Of `groups` groups of neighbouring experts, only the kept_groups with the largest sum of their
// best_of_group scores may be chosen from (V2: 1, the maximum; V3: 2, whatever k is).
struct ExpertGroups {
  int64_t groups = 1;
  int64_t kept_groups = 1;
  int64_t best_of_group = 1;
};

// index (rows, k) = the experts with the largest score + bias, best first; of equals the lower one,
// as among groups. bias: (1, E) f32, for the choice alone; may be empty. A score that is not a
// number is chosen last.
void router_choose(Stream& stream, const Tensor& scores, const Tensor& bias,
                   const ExpertGroups& groups, const Tensor& index);

// How chosen scores become weights: w = factor * s, or factor * s / (sum of the chosen + 1e-20).
struct RouterWeights {
  bool normalize = false;
  double factor = 1;
};

// weights (rows, k) from scores (rows, E), without a bias, and index (rows, k).
void router_weights(Stream& stream, const Tensor& scores, const Tensor& index,
                    const RouterWeights& rule, const Tensor& weights);

// Which sequences some rows belong to: row r is row first_row + r of whole sequences of `length`
// rows one after another.
struct SequenceRows {
  int64_t first_row = 0;
  int64_t length = 1;
};

// dlogits (rows, E) = the gradient through the chosen weights, dweights (rows, k), plus that
// through the shares of balance_shares(), dshares (sequences, E).
void router_backward(Stream& stream, Scoring scoring, const Tensor& scores, const Tensor& index,
                     const RouterWeights& rule, const Tensor& dweights, const SequenceRows& of,
                     const Tensor& dshares, const Tensor& dlogits);

// counts (sequences, E / width) i64 += how many rows of each sequence have any of each `width`
// neighbouring experts in index (rows, k). width 1: rows by expert; E / D: by device of D.
void count_choices(Stream& stream, const Tensor& index, int64_t width, const SequenceRows& of,
                   const Tensor& counts);

// shares (sequences, E) f64 = sum over these rows of each sequence of s_e / sum of s (V3 eq 19-20,
// times the sequence's length), in increasing rows.
void balance_shares(Stream& stream, const Tensor& scores, const SequenceRows& of,
                    const Tensor& shares);

// A term of the balance loss of one sequence of T tokens over D devices of E / D experts each:
//   factor * sum over devices i of f_i P_i,  P_i = sum of the shares of its experts / T,
//   f_i = D / (chosen_by * T) * sum of the counts of device i
// Experts (V3 eq 17-20, V2 eq 23-25): D = E, chosen_by = k. Devices (V2 eq 26-28): chosen_by = k;
// f is the mean over the device's experts. Communication (V2 eq 29-31): one count for each device,
// of the tokens that reach it, chosen_by = kept groups.
struct BalanceTerm {
  double factor = 0;
  double chosen_by = 1;
  int64_t devices = 1;
};

// loss (sequences) f64 += the term; dshares (sequences, E) A += dsequence * scale * its gradient by
// the shares (f has none); scale: the product of f64 on the device, empty: 1. counts (sequences, E
// or D) i64 and shares (sequences, E) f64 are over all T rows of each sequence.
void balance_loss(Stream& stream, const BalanceTerm& term, const Tensor& counts,
                  const Tensor& shares, int64_t length, double dsequence, const Tensor& scale,
                  const Tensor& loss, const Tensor& dshares);

// bias (layers, E) f32 += speed * sign(mean of the row of loads - load), loads (layers, E) i64
// (arXiv:2408.15664, algorithm 1). Nothing changes where apply, f64 on the device, is 0;
// empty: 1.
void update_router_bias(Stream& stream, const Tensor& loads, double speed, const Tensor& apply,
                        const Tensor& bias);

}  // namespace tessera
