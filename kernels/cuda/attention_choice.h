// SPDX-License-Identifier: Apache-2.0
// Whose attention runs, and the line of the log that tells whose ran. Kept inside kernels/cuda.
#pragma once

#include <string>
#include <string_view>

#include "kernels/attention.h"
#include "kernels/base/tensor.h"

namespace tessera::cuda {

// The environment variable TESSERA_ATTENTION asks for one: own (the default) is our kernels on
// tensor cores, cudnn is cuDNN's, plain is our kernels on ordinary arithmetic, slow and simple,
// which tell a wrong fast kernel from a wrong model. Whoever is asked first and declines is
// followed by the next of cudnn, own, plain.
enum class AttentionChoice { own, cudnn, plain };

// Read anew by each call, so that a benchmark can time all three. Throws Error{usage} where the
// variable has another word.
AttentionChoice attention_choice();

// Logs once (level info) for each pass, head shape, type and reason: "attention backward, 16 heads
// of 128/128 in bf16, 4 x 4096: own; cudnn declined: document boundaries". `declined` is why others
// that were asked before did not serve, a clause; empty: they were not asked. Thread-safe.
enum class AttentionPass { forward, backward };
void tell_who_attends(AttentionPass pass, const Attention& shape, DType dtype, const char* who,
                      const std::string& declined);

}  // namespace tessera::cuda
