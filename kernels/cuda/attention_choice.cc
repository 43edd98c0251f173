// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/attention_choice.h"

#include <cstdlib>
#include <mutex>
#include <set>
#include <tuple>

#include "kernels/base/check.h"
#include "kernels/base/log.h"

namespace tessera::cuda {
namespace {

// Lengths are left out: generation has a new one for each token.
using Told = std::tuple<AttentionPass, int, int, int, int, DType, std::string, std::string>;

bool first_time(const Told& told) {
  static std::mutex& mutex = *new std::mutex;
  static std::set<Told>& all = *new std::set<Told>;
  const std::lock_guard lock(mutex);
  return all.insert(told).second;
}

}  // namespace

AttentionChoice attention_choice() {
  const char* const text = std::getenv("TESSERA_ATTENTION");
  const std::string_view wish = text == nullptr || *text == '\0' ? "own" : text;
  if (wish == "own") return AttentionChoice::own;
  if (wish == "cudnn") return AttentionChoice::cudnn;
  if (wish == "plain") return AttentionChoice::plain;
  fail(ErrorKind::usage, "TESSERA_ATTENTION is", wish, "but must be own, cudnn or plain");
}

void tell_who_attends(AttentionPass pass, const Attention& shape, DType dtype, const char* who,
                      const std::string& declined) {
  if (!first_time({pass, shape.num_heads, shape.num_kv_heads, shape.qk_dim, shape.v_dim, dtype, who,
                   declined}))
    return;
  const auto text = [](auto number) { return std::to_string(number); };
  std::string line =
      pass == AttentionPass::forward ? "attention forward, " : "attention backward, ";
  line += text(shape.num_heads) + " heads";
  if (shape.num_kv_heads != shape.num_heads) line += " (" + text(shape.num_kv_heads) + " of keys)";
  line += " of " + text(shape.qk_dim) + "/" + text(shape.v_dim) + " in " + name(dtype) + ", " +
          text(shape.num_sequences) + " x " + text(shape.query_length) + ": " + who;
  log::info(declined.empty() ? line : line + "; " + declined);
}

}  // namespace tessera::cuda
