// SPDX-License-Identifier: Apache-2.0
// The tables of each path, defined in the units that CMake compiles once per path.
#pragma once

#include "kernels/cpu/loops.h"

namespace tessera::cpu {
namespace v2 {
extern const ElementwiseLoops elementwise;
extern const NormLoops norm;
extern const RopeLoops rope;
extern const CrossEntropyLoops cross_entropy;
extern const ReduceLoops reduce;
extern const UpdateLoops update;
extern const RouterLoops router;
extern const GemmLoops gemm;
extern const AttentionLoops attention;
extern const PeakLoops peak;
}  // namespace v2
namespace v3 {
extern const ElementwiseLoops elementwise;
extern const NormLoops norm;
extern const RopeLoops rope;
extern const CrossEntropyLoops cross_entropy;
extern const ReduceLoops reduce;
extern const UpdateLoops update;
extern const RouterLoops router;
extern const GemmLoops gemm;
extern const AttentionLoops attention;
extern const PeakLoops peak;
}  // namespace v3
namespace v4 {
extern const ElementwiseLoops elementwise;
extern const NormLoops norm;
extern const RopeLoops rope;
extern const CrossEntropyLoops cross_entropy;
extern const ReduceLoops reduce;
extern const UpdateLoops update;
extern const RouterLoops router;
extern const GemmLoops gemm;
extern const AttentionLoops attention;
extern const PeakLoops peak;
}  // namespace v4
namespace v4_bf16 {
extern const GemmLoops gemm;  // bf16 only, all three
extern const AttentionLoops attention;
extern const PeakLoops peak;
}  // namespace v4_bf16
}  // namespace tessera::cpu
