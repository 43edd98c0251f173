// SPDX-License-Identifier: Apache-2.0
#include "launch/recipe_fields.h"

#include "launch/scalar.h"

namespace tessera {
namespace {

const std::string& scalar(const RecipeNode& node, const char* wanted) {
  if (node.kind != RecipeNode::Kind::scalar)
    throw ScalarError(std::string("wants ") + wanted + ", got a " +
                      (node.kind == RecipeNode::Kind::list ? "list" : "map"));
  return node.text;
}

const std::string& unquoted(const RecipeNode& node, const char* wanted) {
  const std::string& text = scalar(node, wanted);
  if (node.quoted)
    throw ScalarError(std::string("wants ") + wanted + ", got the text \"" + text + "\"");
  return text;
}

// Plain words need no quotes; everything else gets double quotes with escapes.
std::string yaml_text(const std::string& text) {
  const bool plain = !text.empty() &&
                     text.find_first_not_of(
                         "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                         "0123456789_./-") == std::string::npos &&
                     text != "true" && text != "false" && text != "null" &&
                     !std::isdigit(text[0]) && text[0] != '-' && text[0] != '.';
  if (plain) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '\n' || c == '\t' || c == '\r')
      quoted += c == '\n' ? "\\n" : (c == '\t' ? "\\t" : "\\r");
    else
      quoted += (c == '"' || c == '\\') ? std::string("\\") + c : std::string(1, c);
  }
  return quoted + "\"";
}

using Row = RecipeField;
template <typename T>
using Pick = std::function<T&(Recipe&)>;

template <typename T>
const T& of(const Pick<T>& pick, const Recipe& recipe) {
  return pick(const_cast<Recipe&>(recipe));  // the picker only names a member
}

Row integer(std::string key, Pick<int64_t> pick, std::string doc) {
  return {std::move(key),
          "integer",
          {},
          std::move(doc),
          [pick](Recipe& r, const RecipeNode& n) {
            pick(r) = parse_integer(unquoted(n, "a whole number"));
          },
          [pick](const Recipe& r) { return std::to_string(of(pick, r)); }};
}

// A whole number, or a word (auto, null) that means 0.
Row integer_or(std::string key, std::string word, Pick<int64_t> pick, std::string doc) {
  return {std::move(key),
          "integer",
          {},
          std::move(doc),
          [pick, word](Recipe& r, const RecipeNode& n) {
            const std::string& text = unquoted(n, "a whole number");
            pick(r) = text == word ? 0 : parse_integer(text);
          },
          [pick, word](const Recipe& r) {
            return of(pick, r) == 0 ? word : std::to_string(of(pick, r));
          }};
}

Row number(std::string key, Pick<double> pick, std::string doc) {
  return {
      std::move(key),
      "number",
      {},
      std::move(doc),
      [pick](Recipe& r, const RecipeNode& n) { pick(r) = parse_number(unquoted(n, "a number")); },
      [pick](const Recipe& r) { return format_number(of(pick, r)); }};
}

Row boolean(std::string key, Pick<bool> pick, std::string doc) {
  return {std::move(key),
          "boolean",
          {},
          std::move(doc),
          [pick](Recipe& r, const RecipeNode& n) {
            pick(r) = parse_bool(unquoted(n, "true or false"));
          },
          [pick](const Recipe& r) { return std::string(of(pick, r) ? "true" : "false"); }};
}

Row text(std::string key, Pick<std::string> pick, std::string doc,
         std::vector<std::string> choices = {}) {
  return {std::move(key),
          "string",
          std::move(choices),
          std::move(doc),
          [pick](Recipe& r, const RecipeNode& n) {
            const std::string& value = scalar(n, "text");
            pick(r) = !n.quoted && value == "null" ? "" : value;
          },
          [pick](const Recipe& r) {
            return of(pick, r).empty() ? std::string("null") : yaml_text(of(pick, r));
          }};
}

Row numbers(std::string key, Pick<std::vector<double>> pick, std::string doc) {
  return {std::move(key),
          "array",
          {},
          std::move(doc),
          [pick](Recipe& r, const RecipeNode& n) {
            if (n.kind != RecipeNode::Kind::list) throw ScalarError("wants a list of numbers");
            std::vector<double> values;
            for (const RecipeNode& item : n.items)
              values.push_back(parse_number(unquoted(item, "a number")));
            pick(r) = values;
          },
          [pick](const Recipe& r) {
            std::string list;
            for (const double value : of(pick, r))
              list += (list.empty() ? "" : ", ") + format_number(value);
            return "[" + list + "]";
          }};
}

Row integers_or_auto(std::string key, Pick<std::vector<int64_t>> pick, std::string doc) {
  return {std::move(key),
          "array",
          {},
          std::move(doc),
          [pick](Recipe& r, const RecipeNode& n) {
            std::vector<int64_t> values;
            if (n.kind == RecipeNode::Kind::list) {
              for (const RecipeNode& item : n.items)
                values.push_back(parse_integer(unquoted(item, "a whole number")));
            } else if (unquoted(n, "auto or a list of whole numbers") != "auto") {
              throw ScalarError("wants auto or a list of whole numbers");
            }
            pick(r) = values;
          },
          [pick](const Recipe& r) {
            std::string list;
            for (const int64_t value : of(pick, r))
              list += (list.empty() ? "" : ", ") + std::to_string(value);
            return list.empty() ? std::string("auto") : "[" + list + "]";
          }};
}

Row duration(std::string key, Pick<double> pick, std::string doc) {
  return {std::move(key),
          "string",
          {},
          std::move(doc),
          [pick](Recipe& r, const RecipeNode& n) {
            pick(r) = parse_duration(unquoted(n, "a duration like 10min"));
          },
          [pick](const Recipe& r) { return format_number(of(pick, r)) + "s"; }};
}

Row checkpoint_every() {
  return {"checkpoint.every",
          "string",
          {},
          "how often to save: a number of steps, or a duration like 30min; 0: at the end only",
          [](Recipe& r, const RecipeNode& n) {
            const std::string& value = unquoted(n, "a number of steps or a duration");
            const bool timed = looks_like_duration(value);
            r.checkpoint.every_seconds = timed ? parse_duration(value) : 0;
            r.checkpoint.every_steps = timed ? 0 : parse_integer(value);
          },
          [](const Recipe& r) {
            return r.checkpoint.every_seconds > 0 ? format_number(r.checkpoint.every_seconds) + "s"
                                                  : std::to_string(r.checkpoint.every_steps);
          }};
}

Row blend() {
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
                  source.path = scalar(entry.value, "a path");
                else if (entry.key == "weight")
                  source.weight = parse_number(unquoted(entry.value, "a number"));
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

// "10-12", "10" or null.
Row profile_steps() {
  return {"profile.steps",
          "string",
          {},
          "steps to trace, e.g. 10-12, into trace/trace.json (Perfetto)",
          [](Recipe& r, const RecipeNode& n) {
            const std::string& text = scalar(n, "steps like 10-12");
            r.profile = {};
            if (!n.quoted && text == "null") return;
            const size_t dash = text.find('-');
            r.profile.first_step = parse_integer(text.substr(0, dash));
            r.profile.last_step = dash == std::string::npos ? r.profile.first_step
                                                            : parse_integer(text.substr(dash + 1));
          },
          [](const Recipe& r) {
            if (r.profile.first_step == 0) return std::string("null");
            return yaml_text(std::to_string(r.profile.first_step) + "-" +
                             std::to_string(r.profile.last_step));
          }};
}

std::vector<RecipeField> make_fields() {
  using R = Recipe;
  std::vector<RecipeField> rows;
  const auto add = [&](Row row) { rows.push_back(std::move(row)); };
  add(integer(
      "recipe", [](R & r) -> auto& { return r.version; }, "format version of this file: 1"));
  add(text(
      "name", [](R & r) -> auto& { return r.name; }, "names the run directory runs/NAME"));

  add(text("model.architecture", [](R & r) -> auto& { return r.model.architecture; },
           "the decoder: Llama's", {"llama"}));
  add(integer(
      "model.vocab_size", [](R & r) -> auto& { return r.model.vocab_size; },
      "tokens; at least the tokenizer's"));
  add(integer(
      "model.hidden_size", [](R & r) -> auto& { return r.model.hidden_size; },
      "width of the residual stream"));
  add(integer(
      "model.intermediate_size", [](R & r) -> auto& { return r.model.intermediate_size; },
      "width of the feed-forward network"));
  add(integer(
      "model.num_hidden_layers", [](R & r) -> auto& { return r.model.num_hidden_layers; },
      "transformer blocks"));
  add(integer(
      "model.num_attention_heads", [](R & r) -> auto& { return r.model.num_attention_heads; },
      "query heads"));
  add(integer_or(
      "model.num_key_value_heads", "null",
      [](R & r) -> auto& { return r.model.num_key_value_heads; },
      "key/value heads (grouped queries); null: as many as query heads"));
  add(integer_or(
      "model.head_dim", "null", [](R & r) -> auto& { return r.model.head_dim; },
      "size of a head; null: hidden_size / num_attention_heads"));
  add(number(
      "model.rope_theta", [](R & r) -> auto& { return r.model.rope_theta; },
      "base of the rotary frequencies"));
  add(number(
      "model.rms_norm_eps", [](R & r) -> auto& { return r.model.rms_norm_eps; },
      "added to the mean square"));
  add(number(
      "model.initializer_range", [](R & r) -> auto& { return r.model.initializer_range; },
      "standard deviation of initial weights"));
  add(boolean(
      "model.scale_residual_init", [](R & r) -> auto& { return r.model.scale_residual_init; },
      "divide it by sqrt(2 layers) for projections into the residual stream"));
  add(boolean(
      "model.tie_word_embeddings", [](R & r) -> auto& { return r.model.tie_word_embeddings; },
      "the head uses the embedding's weights"));
  add(integer_or(
      "model.max_position_embeddings", "null",
      [](R & r) -> auto& { return r.model.max_position_embeddings; },
      "longest sequence at inference; null: data.sequence_length"));

  add(text(
      "data.train", [](R & r) -> auto& { return r.data.train; },
      "PREFIX of a .bin/.idx pair written by tessera data prepare"));
  add(text(
      "data.validation", [](R & r) -> auto& { return r.data.validation; },
      "the same for evaluation; null: none"));
  add(text(
      "data.tokenizer", [](R & r) -> auto& { return r.data.tokenizer; },
      "tokenizer.json that the data was made with; null: bits per byte unknown"));
  add(blend());
  add(integer(
      "data.sequence_length", [](R & r) -> auto& { return r.data.sequence_length; },
      "tokens of a sample"));
  add(boolean(
      "data.attend_across_documents", [](R & r) -> auto& { return r.data.attend_across_documents; },
      "false: the attention mask stops at document ends"));
  add(boolean(
      "data.shuffle", [](R & r) -> auto& { return r.data.shuffle; },
      "false: samples in stored order"));
  add(integer(
      "data.seed", [](R & r) -> auto& { return r.data.seed; },
      "sample order = f(seed, step): the same on any number of ranks"));

  add(integer(
      "batch.global", [](R & r) -> auto& { return r.batch.global; },
      "sequences per step over all ranks"));
  add(integer(
      "batch.micro", [](R & r) -> auto& { return r.batch.micro; },
      "sequences per microbatch of a rank; the rest is accumulation"));

  add(integer_or(
      "parallel.data", "auto", [](R & r) -> auto& { return r.parallel.data; },
      "data-parallel ranks; auto: whatever is left"));
  add(integer(
      "parallel.tensor", [](R & r) -> auto& { return r.parallel.tensor; },
      "tensor-parallel ranks"));
  add(integer(
      "parallel.pipeline", [](R & r) -> auto& { return r.parallel.pipeline; }, "pipeline stages"));
  add(integer(
      "parallel.context", [](R & r) -> auto& { return r.parallel.context; },
      "context-parallel ranks"));
  add(integer(
      "parallel.expert", [](R & r) -> auto& { return r.parallel.expert; },
      "expert-parallel ranks"));
  add(integer(
      "parallel.expert_tensor", [](R & r) -> auto& { return r.parallel.expert_tensor; },
      "tensor-parallel ranks of an expert"));
  add(integer(
      "parallel.zero", [](R & r) -> auto& { return r.parallel.zero; },
      "over data parallel, shard 1: optimizer state, 2: and gradients, 3: and weights; 0: "
      "nothing"));
  add(text(
      "parallel.schedule", [](R & r) -> auto& { return r.parallel.schedule; },
      "gpipe, 1f1b, interleaved, zb_h1, zb_h2, zb_v, dualpipe_v or file:PATH"));
  add(integer_or(
      "parallel.chunks", "auto", [](R & r) -> auto& { return r.parallel.chunks; },
      "model chunks per rank; auto: what the schedule needs"));
  add(integers_or_auto(
      "parallel.layers_per_stage", [](R & r) -> auto& { return r.parallel.layers_per_stage; },
      "blocks of each stage, or auto: as even as can be"));
  add(text("parallel.recompute", [](R & r) -> auto& { return r.parallel.recompute; },
           "activations recomputed in backward; selective: norm outputs and SwiGLU products",
           {"none", "selective", "full"}));

  add(text("precision.compute", [](R & r) -> auto& { return r.precision.compute; },
           "type of activations and of the weights that layers read", {"f32", "bf16", "f16"}));
  add(text("precision.master_weights", [](R & r) -> auto& { return r.precision.master_weights; },
           "type of the weights that the optimizer updates", {"f32"}));
  add(text("precision.reduce", [](R & r) -> auto& { return r.precision.reduce; },
           "type in which gradients are summed over ranks", {"f32"}));
  add(text("precision.loss_scaling.mode",
           [](R & r) -> auto& { return r.precision.loss_scaling.mode; },
           "auto: dynamic for f16, none otherwise", {"auto", "none", "dynamic"}));
  add(text("precision.loss_scaling.style",
           [](R & r) -> auto& { return r.precision.loss_scaling.style; },
           "whose rules the scale follows", {"pytorch", "megatron"}));
  add(number(
      "precision.loss_scaling.initial",
      [](R & r) -> auto& { return r.precision.loss_scaling.initial; }, "first scale"));
  add(integer(
      "precision.loss_scaling.growth_interval",
      [](R & r) -> auto& { return r.precision.loss_scaling.growth_interval; },
      "good steps in a row before the scale doubles"));
  add(integer(
      "precision.loss_scaling.hysteresis",
      [](R & r) -> auto& { return r.precision.loss_scaling.hysteresis; },
      "megatron: overflows tolerated before the scale falls"));
  add(number(
      "precision.loss_scaling.min", [](R & r) -> auto& { return r.precision.loss_scaling.min; },
      "megatron: the scale never falls below"));

  add(text("optimizer.name", [](R & r) -> auto& { return r.optimizer.name; }, "optimizer",
           {"adamw"}));
  add(number(
      "optimizer.lr", [](R & r) -> auto& { return r.optimizer.lr; }, "peak learning rate"));
  add(numbers(
      "optimizer.betas", [](R & r) -> auto& { return r.optimizer.betas; },
      "decay rates of the two moments"));
  add(number(
      "optimizer.eps", [](R & r) -> auto& { return r.optimizer.eps; },
      "added after the bias-corrected square root"));
  add(number(
      "optimizer.weight_decay", [](R & r) -> auto& { return r.optimizer.weight_decay; },
      "on matrices; norm weights are never decayed"));
  add(boolean(
      "optimizer.decay_embeddings", [](R & r) -> auto& { return r.optimizer.decay_embeddings; },
      "decay the embedding and the head too"));
  add(number(
      "optimizer.grad_clip", [](R & r) -> auto& { return r.optimizer.grad_clip; },
      "largest global gradient norm; 0: off"));

  add(text("lr_schedule.kind", [](R & r) -> auto& { return r.lr_schedule.kind; },
           "shape of the learning rate", {"constant", "warmup_cosine", "wsd", "multi_step"}));
  add(integer(
      "lr_schedule.warmup_steps", [](R & r) -> auto& { return r.lr_schedule.warmup_steps; },
      "updates of linear warm-up"));
  add(integer_or(
      "lr_schedule.decay_steps", "auto", [](R & r) -> auto& { return r.lr_schedule.decay_steps; },
      "cosine: update at which the minimum is reached, auto: run.steps; wsd: updates of "
      "the last phase"));
  add(number(
      "lr_schedule.min_lr_ratio", [](R & r) -> auto& { return r.lr_schedule.min_lr_ratio; },
      "minimum as a share of the peak"));
  add(numbers(
      "lr_schedule.milestones", [](R & r) -> auto& { return r.lr_schedule.milestones; },
      "multi_step: where, as shares of run.steps"));
  add(number(
      "lr_schedule.milestone_factor", [](R & r) -> auto& { return r.lr_schedule.milestone_factor; },
      "multi_step: what each one multiplies the rate with"));

  add(integer(
      "run.steps", [](R & r) -> auto& { return r.run.steps; }, "batches to consume"));
  add(text("run.device", [](R & r) -> auto& { return r.run.device; },
           "auto: cuda if there is one, else cpu; reference: double precision, slow",
           {"auto", "cpu", "reference", "cuda"}));
  add(integer(
      "run.seed", [](R & r) -> auto& { return r.run.seed; }, "of the initial weights"));
  add(text("run.determinism", [](R & r) -> auto& { return r.run.determinism; },
           "what is bit-equal (docs/numerics.md)", {"same_layout", "layout_free"}));
  add(integer(
      "run.log_every", [](R & r) -> auto& { return r.run.log_every; },
      "steps between lines on the console"));
  add(integer(
      "run.eval_every", [](R & r) -> auto& { return r.run.eval_every; },
      "steps between evaluations; 0: at the end only"));
  add(integer_or(
      "run.eval_batches", "all", [](R & r) -> auto& { return r.run.eval_batches; },
      "global batches of the validation split; all: the whole split"));

  add(text(
      "checkpoint.directory", [](R & r) -> auto& { return r.checkpoint.directory; },
      "{run} is the run directory, {name} the recipe's name"));
  add(checkpoint_every());
  add(integer(
      "checkpoint.keep.last", [](R & r) -> auto& { return r.checkpoint.keep.last; },
      "newest checkpoints to keep"));
  add(integer(
      "checkpoint.keep.every", [](R & r) -> auto& { return r.checkpoint.keep.every; },
      "and those of steps divisible by this; 0: none"));
  add(integer(
      "checkpoint.max_failures", [](R & r) -> auto& { return r.checkpoint.max_failures; },
      "failed saves in a row before the run ends with exit code 8"));
  add(text("checkpoint.on_preempt", [](R & r) -> auto& { return r.checkpoint.on_preempt; },
           "at SIGUSR1 or SIGTERM: save and exit 75, or stop and exit 75", {"save", "stop"}));

  add(text("on_failure.non_finite", [](R & r) -> auto& { return r.on_failure.non_finite; },
           "a gradient that is not finite (without loss scaling)", {"skip", "stop"}));
  add(integer(
      "on_failure.max_skips", [](R & r) -> auto& { return r.on_failure.max_skips; },
      "skipped steps in a row before the run ends with exit code 6"));
  add(duration(
      "on_failure.hang_timeout", [](R & r) -> auto& { return r.on_failure.hang_timeout_seconds; },
      "a collective that waits longer ends the job with exit code 7; 0s: never"));
  add(boolean(
      "metrics.jsonl", [](R & r) -> auto& { return r.metrics.jsonl; }, "write metrics.jsonl"));
  add(boolean(
      "metrics.tensorboard", [](R & r) -> auto& { return r.metrics.tensorboard; },
      "write events.out.tfevents.*"));
  add(profile_steps());
  return rows;
}

}  // namespace

const std::vector<RecipeField>& recipe_fields() {
  static const std::vector<RecipeField> fields = make_fields();
  return fields;
}

const std::vector<ForeignKey>& foreign_keys() {
  const std::string moe =
      "it belongs to DeepSeek's mixture of experts, which this version does not train";
  const std::string save = "this version writes each checkpoint itself, at once, in one place";
  static const std::vector<ForeignKey> keys = {
      {"learning_rate", "it belongs to `optimizer.lr`"},
      {"lr", "it belongs to `optimizer.lr`"},
      {"weight_decay", "it belongs to `optimizer.weight_decay`"},
      {"max_steps", "it belongs to `run.steps`"},
      {"seq_length", "it belongs to `data.sequence_length`"},
      {"micro_batch_size", "it belongs to `batch.micro`"},
      {"global_batch_size", "it belongs to `batch.global`"},
      {"router", moe},
      {"mtp", moe},
      {"checkpoint.async", save},
      {"checkpoint.redundancy", save},
      {"checkpoint.writers_per_node", save},
      {"checkpoint.mirror", save},
      {"on_failure.restarts",
       "restarts belong to tessera launch, which this version does not have"},
      {"metrics.prometheus", "this version writes metrics.jsonl and TensorBoard events"},
      {"run.tokens", "give run.steps; a step is batch.global x data.sequence_length tokens"}};
  return keys;
}

}  // namespace tessera
