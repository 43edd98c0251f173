// SPDX-License-Identifier: Apache-2.0
// Which instruction-set path the CPU backend runs. The path is part of a run's identity: v3 and v4
// give equal bits, v2 (no fused multiply-add) does not. All ranks agree on the lowest (World).
#pragma once

#include <optional>
#include <string_view>

namespace tessera {

// x86-64 levels of the psABI: v2 = SSE4.2, v3 = AVX2 + FMA, v4 = AVX-512 (F, BW, CD, DQ, VL);
// v4_bf16 = v4 with AVX512_BF16 for bf16 matrix products.
enum class CpuPath { v2, v3, v4, v4_bf16 };

const char* name(CpuPath path);
std::optional<CpuPath> cpu_path_named(std::string_view name);
CpuPath best_cpu_path();     // the highest this machine can run
CpuPath cpu_path();          // in use: TESSERA_CPU_PATH from the environment, else the best
void set_cpu_path(CpuPath);  // REQUIRES <= best_cpu_path(), before the first kernel runs

int cpu_threads();  // threads a kernel uses (OpenMP)
void set_cpu_threads(int threads);

}  // namespace tessera
