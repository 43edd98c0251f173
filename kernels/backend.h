// SPDX-License-Identifier: Apache-2.0
// Everything a kind of device can compute: one pointer per kernel; the table of contents of this
// room. The front functions (kernels/norm.cc and its like) check the arguments once and call
// through the stream's table; backends trust them. A kernel left out of a table is a compiler
// error, so "not written yet" must be spelled nullptr.
#pragma once

#include "kernels/attention.h"
#include "kernels/copy.h"
#include "kernels/cross_entropy.h"
#include "kernels/elementwise.h"
#include "kernels/embedding.h"
#include "kernels/gemm.h"
#include "kernels/latent_heads.h"
#include "kernels/norm.h"
#include "kernels/permute.h"
#include "kernels/reduce.h"
#include "kernels/rope.h"
#include "kernels/router.h"
#include "kernels/shift.h"
#include "kernels/step_controls.h"
#include "kernels/update.h"

namespace tessera {

struct Backend {
  const char* name;
  decltype(tessera::copy)* copy;
  decltype(tessera::cast)* cast;
  decltype(tessera::fill)* fill;
  decltype(tessera::transpose)* transpose;
  decltype(tessera::gemm)* gemm;
  decltype(tessera::grouped_gemm)* grouped_gemm;
  decltype(tessera::add)* add;
  decltype(tessera::scale)* scale;
  decltype(tessera::swiglu)* swiglu;
  decltype(tessera::swiglu_backward)* swiglu_backward;
  decltype(tessera::rms_norm)* rms_norm;
  decltype(tessera::rms_norm_backward_input)* rms_norm_backward_input;
  decltype(tessera::rms_norm_backward_weight)* rms_norm_backward_weight;
  decltype(tessera::rope)* rope;
  decltype(tessera::attention)* attention;
  decltype(tessera::attention_backward)* attention_backward;
  decltype(tessera::latent_heads)* latent_heads;
  decltype(tessera::latent_heads_backward)* latent_heads_backward;
  decltype(tessera::embedding)* embedding;
  decltype(tessera::embedding_backward)* embedding_backward;
  decltype(tessera::shift)* shift;
  decltype(tessera::softmax_stats)* softmax_stats;
  decltype(tessera::cross_entropy)* cross_entropy;
  decltype(tessera::cross_entropy_backward)* cross_entropy_backward;
  decltype(tessera::sum_of_squares)* sum_of_squares;
  decltype(tessera::exact_sum)* exact_sum;
  decltype(tessera::count_non_finite)* count_non_finite;
  decltype(tessera::argmax)* argmax;
  decltype(tessera::router_scores)* router_scores;
  decltype(tessera::router_choose)* router_choose;
  decltype(tessera::router_weights)* router_weights;
  decltype(tessera::router_backward)* router_backward;
  decltype(tessera::count_choices)* count_choices;
  decltype(tessera::balance_shares)* balance_shares;
  decltype(tessera::balance_loss)* balance_loss;
  decltype(tessera::update_router_bias)* update_router_bias;
  decltype(tessera::sort_slots)* sort_slots;
  decltype(tessera::gather_rows)* gather_rows;
  decltype(tessera::combine_rows)* combine_rows;
  decltype(tessera::weigh_rows)* weigh_rows;
  decltype(tessera::step_controls)* step_controls;
  decltype(tessera::adamw_update)* adamw_update;
};

const Backend& reference_backend();  // double precision, plain loops: the truth for every test
const Backend& cpu_backend();        // f32, bf16, f16 on the best instruction set of this machine
const Backend& dry_backend();        // every kernel does nothing

// Streams that are made from now on, on devices of this kind, compute with `table`, which stays
// where it is; null: with their own again. Tests plant faults in kernels with it.
void replace_backend(Device::Kind kind, const Backend* table);

}  // namespace tessera
