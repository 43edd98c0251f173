// SPDX-License-Identifier: Apache-2.0
// What `tessera verify` runs a recipe in: one layout after another, written
//   tensor=2,pipeline=2,schedule=zb_h1,zero=3,compute=bf16,threads=2,transport=mpi
// Anything that is not named is 1, the schedule 1f1b, and the rest as in the recipe.
#pragma once

#include <string>
#include <vector>

#include "trainer/recipe.h"

namespace tessera {

struct Layout {
  ParallelOptions parallel;
  ComputeType compute = ComputeType::f32;
  std::string device = "cpu";  // cpu | reference
  std::string transport;       // mpi: not through shared memory; empty: the best
  int threads = 0;             // per rank; 0: as the process has them

  int num_ranks() const;
  std::string to_string() const;  // what differs from one rank
};

// Throws Error{usage} naming the word that is wrong. `recipe` gives the defaults.
Layout parse_layout(const std::string& text, const Recipe& recipe);
// "a; b; c". Never empty: a text that names no layout is Error{usage}, too.
std::vector<Layout> parse_layouts(const std::string& text, const Recipe& recipe);

// Layouts that are promised to be bit-equal share a class.
std::string class_of(const Layout& layout, const Recipe& recipe);

// The recipe in this layout, for `steps` steps without evaluation. f16 starts at a loss scale at
// which no step is skipped.
Recipe in_layout(const Recipe& recipe, const Layout& layout, int64_t steps);

// Layouts of at most max_ranks ranks, legal for the recipe, such that every pair of values of
//   data {1,2,4} tensor {1,2,4} pipeline {1,2,4} zero {0..3} schedule {all} recompute {3}
//   compute {f32,bf16,f16} threads {1,2,3} transport {shared memory, mpi}
//   and of a recipe with experts expert {1,2,4} expert_tensor {1,2}
// that any legal layout has is in one of them: a covering array of strength two. Where a layout is
// the only one of its class (class_of), the plainest of the class goes before it, so that every
// promise of equal bits is put to the test. The same for the same recipe and ranks. With
// `all_compute` false only the recipe's compute type.
std::vector<Layout> covering_layouts(const Recipe& recipe, int max_ranks, bool all_compute);

}  // namespace tessera
