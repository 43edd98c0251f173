// SPDX-License-Identifier: Apache-2.0
#include "kernels/peak.h"

#include <atomic>
#include <chrono>

#include <omp.h>

#include "kernels/cpu/parallel.h"

namespace tessera {
namespace {

using Clock = std::chrono::steady_clock;

// Seconds in which `threads` threads that start together all do work(thread).
template <typename Work>
double seconds_of_threads(int threads, Work work) {
  Clock::time_point start, end;
#pragma omp parallel num_threads(threads)
  {
#pragma omp barrier
#pragma omp master
    start = Clock::now();
    work(omp_get_thread_num());
#pragma omp barrier
#pragma omp master
    end = Clock::now();
  }
  return std::chrono::duration<double>(end - start).count();
}

// The least of `repetitions`; the first one warms up and does not count.
template <typename Work>
double least_seconds(int threads, int repetitions, Work work) {
  seconds_of_threads(threads, work);
  double least = seconds_of_threads(threads, work);
  for (int i = 1; i < repetitions; ++i) least = std::min(least, seconds_of_threads(threads, work));
  return least;
}

}  // namespace

double measure_peak_flops(DType compute_type, int threads) {
  constexpr int64_t kTrialRounds = 4096;
  constexpr double kSecondsEach = 2e-3;
  constexpr int kRepetitions = 16;
  const cpu::Element element = compute_type == DType::bf16 ? cpu::Element::bf16 : cpu::Element::f32;
  const cpu::PeakLoops& peak = cpu::peak_loops(element);
  std::atomic<float> sink = 0;  // the compiler must not drop the loop
  const auto rounds_of = [&](int64_t rounds) {
    return [&peak, &sink, rounds](int) { sink.store(peak.run(rounds), std::memory_order_relaxed); };
  };
  const double trial = least_seconds(1, 3, rounds_of(kTrialRounds));
  const auto rounds = static_cast<int64_t>(kTrialRounds * std::max(1.0, kSecondsEach / trial));
  const double seconds = least_seconds(threads, kRepetitions, rounds_of(rounds));
  return static_cast<double>(peak.flops_of_round * rounds) * threads / seconds;
}

double measure_bandwidth(int threads) {
  constexpr int64_t kElements = int64_t{16} << 20, kBytesOfElement = 7 * sizeof(float);
  constexpr int kRepetitions = 6;
  std::array<Tensor, 4> arrays;
  for (Tensor& array : arrays) {
    array = Tensor(Device{}, DType::f32, {kElements}, MemoryClass::other);
    cpu::parallel_for(kElements / cpu::kChunk, [&](int64_t task) {
      std::fill_n(array.as<float>() + task * cpu::kChunk, cpu::kChunk, 1.0f);
    });
  }
  const cpu::AdamWFactors factors = {.grad_scale = 1,
                                     .decay = 1,
                                     .beta1 = 0.5f,
                                     .one_minus_beta1 = 0.5f,
                                     .beta2 = 0.5f,
                                     .one_minus_beta2 = 0.5f,
                                     .step_size = 0,
                                     .inv_correction2 = 1,
                                     .epsilon = 1};
  const int64_t share = cpu::divide_up(kElements, threads);
  const double seconds = least_seconds(threads, kRepetitions, [&](int thread) {
    const int64_t end = std::min(kElements, (thread + 1) * share);
    for (int64_t first = thread * share; first < end; first += cpu::kChunk) {
      float* master = arrays[1].as<float>() + first;
      cpu::loops().update.adamw(factors, arrays[0].as<float>() + first, master,
                                arrays[2].as<float>() + first, arrays[3].as<float>() + first,
                                cpu::Element::f32, master, std::min(cpu::kChunk, end - first));
    }
  });
  return static_cast<double>(kElements * kBytesOfElement) / seconds;
}

}  // namespace tessera
