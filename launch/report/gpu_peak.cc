// SPDX-License-Identifier: Apache-2.0
#include "launch/report/gpu_peak.h"

#include <array>

namespace tessera {
namespace {

struct Peak {
  const char* part_of_name;
  double teraflops;  // bf16 and f16, without sparsity
};

// NVIDIA's data sheets of each, where figures with sparsity are twice these. The first that fits.
constexpr std::array<Peak, 9> kPeaks = {{{"H100 PCIe", 756},
                                         {"H100 NVL", 835},
                                         {"H100", 989},
                                         {"H200 NVL", 835},
                                         {"H200", 989},
                                         {"H800 PCIe", 756},
                                         {"H800", 989},
                                         {"A100", 312},
                                         {"A800", 312}}};

}  // namespace

double published_peak_flops(const std::string& device_name, DType dtype, bool tf32) {
  constexpr double kTera = 1e12, kOfTf32 = 0.5;  // on all of these
  const bool half = dtype == DType::bf16 || dtype == DType::f16;
  if (!half && !(dtype == DType::f32 && tf32)) return 0;
  for (const Peak& peak : kPeaks)
    if (device_name.find(peak.part_of_name) != std::string::npos)
      return peak.teraflops * kTera * (half ? 1 : kOfTf32);
  return 0;
}

}  // namespace tessera
