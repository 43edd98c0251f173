// SPDX-License-Identifier: Apache-2.0
// Options of a recipe that take one word of a closed set, and the words of each. Those of the model
// are in trainer/model/options.h.
#pragma once

#include "kernels/base/closed_set.h"
#include "kernels/base/dtype.h"

namespace tessera {

// Activations, and the weights that layers read, have this type.
enum class ComputeType { f32, bf16, f16 };
template <>
inline constexpr auto kWords<ComputeType> = std::array{"f32", "bf16", "f16"};

inline DType dtype_of(ComputeType type) {
  return *dtype_named(name_of(type));
}

// Master weights have this type, and gradients are summed over ranks in it.
enum class WideType { f32 };
template <>
inline constexpr auto kWords<WideType> = std::array{"f32"};

enum class LossScalingMode { automatic, none, dynamic };
template <>
inline constexpr auto kWords<LossScalingMode> = std::array{"auto", "none", "dynamic"};

// The loss scale follows the rules of one of these programs.
enum class LossScalingStyle { pytorch, megatron };
template <>
inline constexpr auto kWords<LossScalingStyle> = std::array{"pytorch", "megatron"};

// The learning rate has one of these shapes over the whole run (trainer/optim/lr_schedule.h).
enum class LrKind { constant, warmup_cosine, wsd, multi_step, phases };
template <>
inline constexpr auto kWords<LrKind> =
    std::array{"constant", "warmup_cosine", "wsd", "multi_step", "phases"};

// The learning rate has one of these shapes over one phase of a run whose LrKind is phases.
enum class LrShape { constant, linear, cosine };
template <>
inline constexpr auto kWords<LrShape> = std::array{"constant", "linear", "cosine"};

// Equal bits are promised on one layout, or on all that differ in data ranks and ZeRO alone
// (docs/numerics.md).
enum class Determinism { same_layout, layout_free };
template <>
inline constexpr auto kWords<Determinism> = std::array{"same_layout", "layout_free"};

// The rows of optimizer_kinds() (optim/optimizer.h) have these names.
enum class OptimizerName { adamw };
template <>
inline constexpr auto kWords<OptimizerName> = std::array{"adamw"};

enum class OnPreempt { save, stop };
template <>
inline constexpr auto kWords<OnPreempt> = std::array{"save", "stop"};

enum class OnNonFinite { skip, stop };
template <>
inline constexpr auto kWords<OnNonFinite> = std::array{"skip", "stop"};

}  // namespace tessera
