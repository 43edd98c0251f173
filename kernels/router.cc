// SPDX-License-Identifier: Apache-2.0
#include "kernels/router.h"

#include "kernels/arguments.h"
#include "kernels/backend.h"

namespace tessera {
namespace {

// Scores and what is like them: one type A for all of a call.
void check_scores(const Arguments& arguments, const Stream& stream, const Argument& scores) {
  arguments.computable(scores);
  if (stream.device().kind != Device::Kind::dry)
    arguments.holds(scores.tensor.dtype() == accumulation_type(scores.tensor.dtype()),
                    "scores in the type of sums");
}

void check_sequences(const Arguments& arguments, const SequenceRows& of, int64_t rows,
                     int64_t sequences) {
  arguments.holds(of.length > 0 && of.first_row >= 0, "rows of sequences");
  arguments.holds(of.first_row + rows <= sequences * of.length, "a place for every sequence");
}

}  // namespace

void router_scores(Stream& stream, Scoring scoring, const Tensor& logits, const Tensor& scores) {
  const Arguments arguments(stream, "router_scores:");
  const Argument in{"logits", logits}, out{"scores", scores};
  arguments.on_device({in, out});
  check_scores(arguments, stream, in);
  arguments.same_type(in, out);
  arguments.same_shape(in, out);
  if (logits.size() > 0) stream.backend().router_scores(stream, scoring, logits, scores);
}

void router_choose(Stream& stream, const Tensor& scores, const Tensor& bias,
                   const ExpertGroups& groups, const Tensor& index) {
  const Arguments arguments(stream, "router_choose:");
  const Argument in{"scores", scores}, out{"index", index};
  arguments.on_device({in, out});
  check_scores(arguments, stream, in);
  arguments.of_type(out, DType::i32);
  arguments.matrix(out, scores.rows(), index.columns());
  if (!bias.empty()) {
    const Argument added{"bias", bias};
    arguments.on_device({added});
    arguments.of_type(added, DType::f32);
    arguments.vector(added, scores.columns());
  }
  const int64_t experts = scores.columns();
  arguments.holds(groups.groups > 0 && experts % groups.groups == 0, "equal groups of experts");
  const int64_t each = experts / groups.groups;
  arguments.holds(groups.kept_groups > 0 && groups.kept_groups <= groups.groups &&
                      groups.best_of_group > 0 && groups.best_of_group <= each,
                  "kept groups and best experts that exist");
  arguments.holds(index.columns() > 0 && index.columns() <= groups.kept_groups * each,
                  "as many experts in the kept groups as are chosen");
  if (scores.rows() > 0) stream.backend().router_choose(stream, scores, bias, groups, index);
}

void router_weights(Stream& stream, const Tensor& scores, const Tensor& index,
                    const RouterWeights& rule, const Tensor& weights) {
  const Arguments arguments(stream, "router_weights:");
  const Argument in{"scores", scores}, chosen{"index", index}, out{"weights", weights};
  arguments.on_device({in, chosen, out});
  check_scores(arguments, stream, in);
  arguments.of_type(chosen, DType::i32);
  arguments.same_type(in, out);
  arguments.same_shape(chosen, out);
  arguments.holds(index.rows() == scores.rows(), "an index row for each row of scores");
  if (index.size() > 0) stream.backend().router_weights(stream, scores, index, rule, weights);
}

void router_backward(Stream& stream, Scoring scoring, const Tensor& scores, const Tensor& index,
                     const RouterWeights& rule, const Tensor& dweights, const SequenceRows& of,
                     const Tensor& dshares, const Tensor& dlogits) {
  const Arguments arguments(stream, "router_backward:");
  const Argument in{"scores", scores}, chosen{"index", index}, dw{"dweights", dweights},
      ds{"dshares", dshares}, out{"dlogits", dlogits};
  arguments.on_device({in, chosen, dw, ds, out});
  check_scores(arguments, stream, in);
  arguments.of_type(chosen, DType::i32);
  for (const Argument& other : {dw, ds, out}) arguments.same_type(in, other);
  arguments.same_shape(chosen, dw);
  arguments.same_shape(in, out);
  arguments.matrix(ds, dshares.rows(), scores.columns());
  check_sequences(arguments, of, scores.rows(), dshares.rows());
  if (scores.size() > 0)
    stream.backend().router_backward(stream, scoring, scores, index, rule, dweights, of, dshares,
                                     dlogits);
}

void count_choices(Stream& stream, const Tensor& index, int64_t width, const SequenceRows& of,
                   const Tensor& counts) {
  const Arguments arguments(stream, "count_choices:");
  const Argument chosen{"index", index}, out{"counts", counts};
  arguments.on_device({chosen, out});
  arguments.of_type(chosen, DType::i32);
  arguments.of_type(out, DType::i64);
  arguments.holds(width > 0, "a width");
  check_sequences(arguments, of, index.rows(), counts.rows());
  if (index.size() > 0) stream.backend().count_choices(stream, index, width, of, counts);
}

void balance_shares(Stream& stream, const Tensor& scores, const SequenceRows& of,
                    const Tensor& shares) {
  const Arguments arguments(stream, "balance_shares:");
  const Argument in{"scores", scores}, out{"shares", shares};
  arguments.on_device({in, out});
  check_scores(arguments, stream, in);
  arguments.of_type(out, DType::f64);
  arguments.matrix(out, shares.rows(), scores.columns());
  check_sequences(arguments, of, scores.rows(), shares.rows());
  stream.backend().balance_shares(stream, scores, of, shares);
}

void balance_loss(Stream& stream, const BalanceTerm& term, const Tensor& counts,
                  const Tensor& shares, int64_t length, double dsequence, const Tensor& scale,
                  const Tensor& loss, const Tensor& dshares) {
  const Arguments arguments(stream, "balance_loss:");
  const Argument n{"counts", counts}, p{"shares", shares}, l{"loss", loss}, d{"dshares", dshares};
  arguments.on_device({n, p, l, d});
  arguments.of_type(n, DType::i64);
  arguments.of_type(p, DType::f64);
  arguments.of_type(l, DType::f64);
  arguments.floating(d);
  arguments.same_shape(p, d);
  arguments.vector(l, shares.rows());
  arguments.holds(term.devices > 0 && shares.columns() % term.devices == 0 &&
                      counts.columns() % term.devices == 0 && counts.rows() == shares.rows(),
                  "counts of each sequence, and equal devices");
  arguments.factors({"scale", scale});
  stream.backend().balance_loss(stream, term, counts, shares, length, dsequence, scale, loss,
                                dshares);
}

void update_router_bias(Stream& stream, const Tensor& loads, double speed, const Tensor& apply,
                        const Tensor& bias) {
  const Arguments arguments(stream, "update_router_bias:");
  const Argument in{"loads", loads}, out{"bias", bias};
  arguments.on_device({in, out});
  arguments.of_type(in, DType::i64);
  arguments.of_type(out, DType::f32);
  arguments.same_shape(in, out);
  arguments.factors({"apply", apply});
  stream.backend().update_router_bias(stream, loads, speed, apply, bias);
}

}  // namespace tessera
