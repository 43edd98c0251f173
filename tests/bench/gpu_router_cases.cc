// SPDX-License-Identifier: Apache-2.0
// What a mixture of experts adds to a step besides products: 64 experts, 6 of them a token
// (DeepSeek-V2-Lite).
#include <memory>
#include <numeric>

#include "kernels/copy.h"
#include "kernels/permute.h"
#include "kernels/router.h"
#include "kernels/transfer.h"
#include "parallel/communicator.h"
#include "tests/bench/gpu_cases.h"

namespace tessera::bench {

namespace {

constexpr int64_t kExperts = 64, kChosen = 6;

// Rows of tokens to experts and back.
void add_rows_of_experts(Stream& stream, BenchSize size, const Tensor& place, const Tensor& index,
                         const Tensor& weights, std::vector<GpuCase>& cases) {
  const Device gpu = stream.device();
  const int64_t rows = index.rows(), all = rows * kChosen;
  const Tensor slots(gpu, DType::i32, {all}), position(gpu, DType::i32, {rows, kChosen});
  const Tensor offsets(gpu, DType::i64, {kExperts + 1});
  sort_slots(stream, index, place, slots, position, offsets);
  const Tensor x = random_on(stream, DType::bf16, rows, size.hidden);
  const Tensor sorted = random_on(stream, DType::bf16, all, size.hidden);
  const Tensor h = random_on(stream, DType::bf16, all, size.hidden);
  const Tensor slot_weights(gpu, DType::f32, {all}), dweights(gpu, DType::f32, {all});
  fill(stream, 1, slot_weights);
  Stream* s = &stream;
  const auto put = [&](const char* name, double bytes, std::function<void()> run) {
    cases.push_back({name, Limits::memory, bytes, std::move(run)});
  };
  put("gather_rows, tokens to experts", bytes_of({sorted, sorted}),
      [=] { gather_rows(*s, x, slots, kChosen, sorted); });
  put("combine_rows, experts to tokens", bytes_of({sorted, x}),
      [=] { combine_rows(*s, sorted, position, weights, x); });
  put("weigh_rows", 2 * bytes_of({sorted, h}),
      [=] { weigh_rows(*s, slot_weights, sorted, h, dweights); });
  // A rank that has all experts copies in the place of an exchange.
  const std::shared_ptr<Communicator> alone = self_communicator("bench");
  put("all-to-all of one rank", bytes_of({sorted, h}),
      [=] { alone->all_to_all(*s, sorted, Cut::even(all, 1), h, Cut::even(all, 1), "bench"); });
}

// These have their real size, which fits the cache: their time is waiting, not moving.
void add_balance(Stream& stream, BenchSize size, std::vector<GpuCase>& cases) {
  const Device gpu = stream.device();
  constexpr int64_t kSequences = 2;
  const int64_t rows = size.rows / 2, length = rows / kSequences;
  const Tensor scores = random_on(stream, DType::f32, rows, kExperts);
  const Tensor shares(gpu, DType::f64, {kSequences, kExperts});
  const Tensor counts(gpu, DType::i64, {kSequences, kExperts});
  const Tensor loss(gpu, DType::f64, {kSequences}),
      dshares(gpu, DType::f32, {kSequences, kExperts});
  fill(stream, 1, counts);
  fill(stream, 0, loss);
  fill(stream, 0, dshares);
  Stream* s = &stream;
  const SequenceRows of{.first_row = 0, .length = length};
  cases.push_back({"balance_shares, 2 sequences", Limits::memory, bytes_of({scores}),
                   [=] { balance_shares(*s, scores, of, shares); }});
  cases.push_back({"balance_loss, 2 sequences", Limits::memory, bytes_of({shares, counts}), [=] {
                     balance_loss(*s, {.factor = 1, .chosen_by = kChosen, .devices = kExperts},
                                  counts, shares, length, 1, {}, loss, dshares);
                   }});
}

}  // namespace

std::vector<GpuCase> router_cases(Stream& stream, BenchSize size) {
  const int64_t rows = size.routed_rows, slots_of_rows = rows * kChosen;
  const Device gpu = stream.device();
  const Tensor logits = random_on(stream, DType::f32, rows, kExperts);
  const Tensor scores(gpu, DType::f32, {rows, kExperts}), bias(gpu, DType::f32, {1, kExperts});
  const Tensor index(gpu, DType::i32, {rows, kChosen}), weights(gpu, DType::f32, {rows, kChosen});
  const Tensor slots(gpu, DType::i32, {slots_of_rows}), position(gpu, DType::i32, {rows, kChosen});
  const Tensor offsets(gpu, DType::i64, {kExperts + 1});
  std::vector<int32_t> order(static_cast<size_t>(kExperts));
  std::iota(order.begin(), order.end(), 0);
  const Tensor place = uploaded(stream, order);
  fill(stream, 0, bias);
  Stream* s = &stream;
  std::vector<GpuCase> cases;
  const auto put = [&](const char* name, double bytes, std::function<void()> run) {
    cases.push_back({name, Limits::memory, bytes, std::move(run)});
  };
  put("router_scores, softmax of 64", bytes_of({logits, scores}),
      [=] { router_scores(*s, Scoring::softmax, logits, scores); });
  put("router_choose, 6 of 64", bytes_of({scores, index}),
      [=] { router_choose(*s, scores, bias, {}, index); });
  put("router_weights", bytes_of({index, weights, weights}),
      [=] { router_weights(*s, scores, index, {}, weights); });
  put("sort_slots", bytes_of({index, slots, position}),
      [=] { sort_slots(*s, index, place, slots, position, offsets); });
  for (const GpuCase& each : cases) each.run();  // what the next ones read

  add_rows_of_experts(stream, size, place, index.row_slice(0, size.rows / 2),
                      weights.row_slice(0, size.rows / 2), cases);
  add_balance(stream, size, cases);
  return cases;
}

}  // namespace tessera::bench
