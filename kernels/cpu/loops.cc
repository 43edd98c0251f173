// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/loops.h"

#include "kernels/cpu/simd/tables.h"
#include "kernels/cpu_path.h"

namespace tessera::cpu {

const Loops& loops() {
  static constexpr Loops kV2 = {v2::elementwise, v2::norm,   v2::rope,  v2::cross_entropy,
                                v2::reduce,      v2::update, v2::router};
  static constexpr Loops kV3 = {v3::elementwise, v3::norm,   v3::rope,  v3::cross_entropy,
                                v3::reduce,      v3::update, v3::router};
  static constexpr Loops kV4 = {v4::elementwise, v4::norm,   v4::rope,  v4::cross_entropy,
                                v4::reduce,      v4::update, v4::router};
  switch (cpu_path()) {
    case CpuPath::v2: return kV2;
    case CpuPath::v3: return kV3;
    case CpuPath::v4:
    case CpuPath::v4_bf16: break;
  }
  return kV4;
}

const AttentionLoops& attention_loops(Element element) {
  switch (cpu_path()) {
    case CpuPath::v2: return v2::attention;
    case CpuPath::v3: return v3::attention;
    case CpuPath::v4: break;
    case CpuPath::v4_bf16:
      if (element == Element::bf16) return v4_bf16::attention;
  }
  return v4::attention;
}

const GemmLoops& gemm_loops(Element element) {
  switch (cpu_path()) {
    case CpuPath::v2: return v2::gemm;
    case CpuPath::v3: return v3::gemm;
    case CpuPath::v4: break;
    case CpuPath::v4_bf16:
      if (element == Element::bf16) return v4_bf16::gemm;
  }
  return v4::gemm;
}

const PeakLoops& peak_loops(Element element) {
  switch (cpu_path()) {
    case CpuPath::v2: return v2::peak;
    case CpuPath::v3: return v3::peak;
    case CpuPath::v4: break;
    case CpuPath::v4_bf16:
      if (element == Element::bf16) return v4_bf16::peak;
  }
  return v4::peak;
}

}  // namespace tessera::cpu
