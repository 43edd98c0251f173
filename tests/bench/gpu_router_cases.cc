// SPDX-License-Identifier: Apache-2.0
// What a mixture of experts adds to a step besides products: 64 experts, 6 of them a token
// (DeepSeek-V2-Lite).
#include <numeric>

#include "kernels/copy.h"
#include "kernels/permute.h"
#include "kernels/router.h"
#include "kernels/transfer.h"
#include "tests/bench/gpu_cases.h"

namespace tessera::bench {

std::vector<GpuCase> router_cases(Stream& stream, BenchSize size) {
  constexpr int64_t kExperts = 64, kChosen = 6;
  const int64_t rows = size.rows, slots_of_rows = rows * kChosen;
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
  put("router_weights", bytes_of({index, weights}) * 2,
      [=] { router_weights(*s, scores, index, {}, weights); });
  put("sort_slots", bytes_of({index, slots, position}),
      [=] { sort_slots(*s, index, place, slots, position, offsets); });
  for (const GpuCase& each : cases) each.run();  // what the next ones read

  const Tensor x = random_on(stream, DType::bf16, rows, size.hidden);
  const Tensor sorted = random_on(stream, DType::bf16, slots_of_rows, size.hidden);
  const Tensor h = random_on(stream, DType::bf16, slots_of_rows, size.hidden);
  const Tensor slot_weights(gpu, DType::f32, {slots_of_rows}),
      dweights(gpu, DType::f32, {slots_of_rows});
  fill(stream, 1, slot_weights);
  put("gather_rows, tokens to experts", bytes_of({sorted, sorted}),
      [=] { gather_rows(*s, x, slots, kChosen, sorted); });
  put("combine_rows, experts to tokens", bytes_of({sorted, x}),
      [=] { combine_rows(*s, sorted, position, weights, x); });
  put("weigh_rows", 2 * bytes_of({sorted, h}),
      [=] { weigh_rows(*s, slot_weights, sorted, h, dweights); });
  return cases;
}

}  // namespace tessera::bench
