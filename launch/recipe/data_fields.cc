// SPDX-License-Identifier: Apache-2.0
// Keys of the sections data, batch and parallel.
#include "launch/recipe/rows.h"
#include "launch/recipe/scalar.h"
#include "launch/recipe/sections.h"
#include "parallel/pipeline/generators.h"

namespace tessera {
namespace {

RecipeField blend() {
  return {"data.blend",
          "array",
          {},
          "instead of train: [{path: PREFIX, weight: 0.7}, ...]; shares of samples",
          [](Recipe& r, const RecipeNode& n) {
            if (n.kind != RecipeNode::Kind::list)
              throw ScalarError("wants a list of {path: PREFIX, weight: NUMBER}");
            r.data.blend.clear();
            for (const RecipeNode& item : n.items) {
              BlendSource source;
              for (const auto& entry : item.entries) {
                if (entry.key == "path")
                  source.path = scalar_of(entry.value, "a path");
                else if (entry.key == "weight")
                  source.weight = parse_number(unquoted_scalar_of(entry.value, "a number"));
                else
                  throw ScalarError("has the unknown key `" + entry.key + "`; keys: path, weight");
              }
              if (source.path.empty()) throw ScalarError("has a source without a path");
              r.data.blend.push_back(source);
            }
          },
          [](const Recipe& r) {
            std::string list;
            for (const BlendSource& s : r.data.blend)
              list += (list.empty() ? "" : ", ") + ("{path: " + yaml_text(s.path)) +
                      ", weight: " + format_number(s.weight) + "}";
            return "[" + list + "]";
          }};
}

// "gpipe, 1f1b, ..."
std::string schedule_names() {
  std::string names;
  for (const ScheduleKind& kind : schedule_kinds())
    names += (names.empty() ? "" : ", ") + std::string(kind.name);
  return names;
}

}  // namespace

std::vector<RecipeField> data_fields() {
  using R = Recipe;
  std::vector<RecipeField> rows;
  const auto add = [&](RecipeField row) { rows.push_back(std::move(row)); };
  add(text_row(
      "data.train", [](R & r) -> auto& { return r.data.train; },
      "PREFIX of a .bin/.idx pair written by tessera data prepare"));
  add(text_row(
      "data.validation", [](R & r) -> auto& { return r.data.validation; },
      "the same for evaluation; null: none"));
  add(text_row(
      "data.tokenizer", [](R & r) -> auto& { return r.data.tokenizer; },
      "tokenizer.json that the data was made with; null: bits per byte unknown"));
  add(blend());
  add(integer_row(
      "data.sequence_length", [](R & r) -> auto& { return r.data.sequence_length; },
      "tokens of a sample"));
  add(boolean_row(
      "data.attend_across_documents", [](R & r) -> auto& { return r.data.attend_across_documents; },
      "false: the attention mask stops at document ends"));
  add(boolean_row(
      "data.shuffle", [](R & r) -> auto& { return r.data.shuffle; },
      "false: samples in stored order"));
  add(integer_row(
      "data.seed", [](R & r) -> auto& { return r.data.seed; },
      "sample order = f(seed, step): the same on any number of ranks"));

  add(integer_row(
      "batch.global", [](R & r) -> auto& { return r.batch.global; },
      "sequences per step over all ranks; of a ramp: in the end"));
  add(integer_row(
      "batch.micro", [](R & r) -> auto& { return r.batch.micro; },
      "sequences per microbatch of a rank; the rest is accumulation"));
  add(integer_or_row(
      "batch.ramp.from", "null", [](R & r) -> auto& { return r.batch.ramp.from; },
      "sequences of the first steps; null: batch.global from the start"));
  add(integer_or_row(
      "batch.ramp.increment", "null", [](R & r) -> auto& { return r.batch.ramp.increment; },
      "what a step grows by at a time, on the way from `from` to batch.global; `from` and this are "
      "multiples of batch.micro x data ranks"));
  add(integer_or_row(
      "batch.ramp.tokens", "null", [](R & r) -> auto& { return r.batch.ramp.tokens; },
      "tokens that the ramp lasts; each size but the last has an equal share"));
  add(text_row(
      "batch.ramp.schedule", [](R & r) -> auto& { return r.batch.ramp.schedule; },
      "pipeline schedule of steps with too few microbatches for parallel.schedule; one that places "
      "layers alike"));

  add(integer_or_row(
      "parallel.data", "auto", [](R & r) -> auto& { return r.parallel.data; },
      "data-parallel ranks; auto: whatever is left"));
  add(integer_row(
      "parallel.tensor", [](R & r) -> auto& { return r.parallel.tensor; },
      "tensor-parallel ranks"));
  add(integer_row(
      "parallel.pipeline", [](R & r) -> auto& { return r.parallel.pipeline; }, "pipeline stages"));
  add(integer_row(
      "parallel.context", [](R & r) -> auto& { return r.parallel.context; },
      "context-parallel ranks"));
  add(integer_row(
      "parallel.expert", [](R & r) -> auto& { return r.parallel.expert; },
      "expert-parallel ranks"));
  add(integer_row(
      "parallel.expert_tensor", [](R & r) -> auto& { return r.parallel.expert_tensor; },
      "tensor-parallel ranks of an expert"));
  add(integer_row(
      "parallel.zero", [](R & r) -> auto& { return r.parallel.zero; },
      "over data parallel, shard 1: optimizer state, 2: and gradients, 3: and weights; 0: "
      "nothing"));
  add(text_row(
      "parallel.schedule", [](R & r) -> auto& { return r.parallel.schedule; },
      schedule_names() + " or file:PATH"));
  add(integer_or_row(
      "parallel.chunks", "auto", [](R & r) -> auto& { return r.parallel.chunks; },
      "model chunks per rank; auto: what the schedule needs"));
  add(integers_or_auto_row(
      "parallel.layers_per_stage", [](R & r) -> auto& { return r.parallel.layers_per_stage; },
      "blocks of each stage, or auto: as even as can be"));
  add(word_row<Recomputation>(
      "parallel.recompute", [](R & r) -> auto& { return r.parallel.recompute; },
      "activations recomputed in backward; selective: norm outputs and SwiGLU products"));
  return rows;
}

}  // namespace tessera
