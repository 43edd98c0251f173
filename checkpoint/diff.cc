// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/diff.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <tuple>
#include <type_traits>

#include "checkpoint/made_with.h"
#include "kernels/base/check.h"

namespace tessera {
namespace {

using Kind = TensorDifference::Kind;

constexpr int64_t kSliceBytes = int64_t{32} << 20;
constexpr double kInfinite = std::numeric_limits<double>::infinity();

template <typename T>
double as_double(T value) {
  if constexpr (std::is_arithmetic_v<T>)
    return static_cast<double>(value);
  else
    return static_cast<double>(to_float(value));
}

std::vector<double> doubles_of(const Tensor& tensor) {
  std::vector<double> values(static_cast<size_t>(tensor.size()));
  visit(tensor.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* from = tensor.as<T>();
    for (size_t i = 0; i < values.size(); ++i) values[i] = as_double(from[i]);
  });
  return values;
}

struct Sums {
  double difference = 0, a = 0;  // of squares
};

// One slice of both sides into the running result.
void compare_slice(const Tensor& a, const Tensor& b, TensorDifference& result, Sums& sums) {
  const bool same_type = a.dtype() == b.dtype();
  const auto bytes = static_cast<size_t>(a.bytes());
  const std::vector<double> x = doubles_of(a);
  if (same_type && std::memcmp(a.data(), b.data(), bytes) == 0) {
    for (const double value : x)
      if (std::isfinite(value)) sums.a += value * value;
    return;
  }
  const std::vector<double> y = doubles_of(b);
  const auto width = static_cast<size_t>(size_of(a.dtype()));
  const auto *raw_a = static_cast<const char*>(a.data()),
             *raw_b = static_cast<const char*>(b.data());
  for (size_t i = 0; i < x.size(); ++i) {
    if (std::isfinite(x[i])) sums.a += x[i] * x[i];
    const bool equal = same_type ? std::memcmp(raw_a + i * width, raw_b + i * width, width) == 0
                                 : x[i] == y[i] || (std::isnan(x[i]) && std::isnan(y[i]));
    if (equal) continue;
    ++result.num_different;
    if (x[i] == y[i] || (std::isnan(x[i]) && std::isnan(y[i]))) continue;  // -0, or another NaN
    const double apart = std::abs(x[i] - y[i]);
    if (std::isfinite(apart)) {
      result.max_abs = std::max(result.max_abs, apart);
      sums.difference += apart * apart;
    } else {
      result.max_abs = sums.difference = kInfinite;
    }
  }
}

void compare_values(CheckpointReader& a, CheckpointReader& b, const GlobalTensor& tensor,
                    DType dtype_b, TensorDifference& result) {
  Sums sums;
  const ShardSpec whole = ShardSpec::whole(tensor.global_shape);
  const int64_t rows = tensor.global_shape[0],
                row_size = tensor.size() / std::max<int64_t>(1, rows);
  const int64_t widest = std::max(size_of(tensor.dtype), size_of(dtype_b));
  const int64_t rows_at_once =
      std::clamp<int64_t>(kSliceBytes / std::max<int64_t>(1, row_size * widest), 1, rows);
  for (int64_t first = 0; first < rows; first += rows_at_once) {
    const Box box = whole.rows(first, std::min(rows_at_once, rows - first)).box;
    const Tensor x(Device{}, tensor.dtype, {box.size()}, MemoryClass::other);
    const Tensor y(Device{}, dtype_b, {box.size()}, MemoryClass::other);
    a.read(tensor.name, tensor.role, box, x);
    b.read(tensor.name, tensor.role, box, y);
    compare_slice(x, y, result, sums);
  }
  if (sums.difference > 0)
    result.relative_frobenius = sums.a > 0 ? std::sqrt(sums.difference / sums.a) : kInfinite;
  if (result.num_different > 0 && result.kind == Kind::equal) result.kind = Kind::values;
}

TensorDifference compare(CheckpointReader& a, CheckpointReader& b, const GlobalTensor& x,
                         const GlobalTensor& y) {
  TensorDifference result{x.name, x.role};
  result.num_elements = x.size();
  if (x.global_shape != y.global_shape) {
    result.kind = Kind::shape;
    return result;
  }
  if (x.dtype != y.dtype) result.kind = Kind::dtype;
  compare_values(a, b, x, y.dtype, result);
  return result;
}

std::vector<ScalarDifference> compare_scalars(const std::map<std::string, std::string>& a,
                                              const std::map<std::string, std::string>& b) {
  std::vector<ScalarDifference> differences;
  for (const auto& [key, value] : a) {
    const auto found = b.find(key);
    if (found == b.end())
      differences.push_back({key, value, std::nullopt});
    else if (found->second != value)
      differences.push_back({key, value, found->second});
  }
  for (const auto& [key, value] : b)
    if (a.count(key) == 0) differences.push_back({key, std::nullopt, value});
  return differences;
}

}  // namespace

bool CheckpointDiff::equal() const {
  const bool same_scalars = std::all_of(scalars.begin(), scalars.end(), [](const auto& scalar) {
    return scalar.key.starts_with(kMadeWith);
  });
  return same_scalars && std::all_of(tensors.begin(), tensors.end(),
                                     [](const auto& tensor) { return tensor.kind == Kind::equal; });
}

CheckpointDiff diff_checkpoints(CheckpointReader& a, CheckpointReader& b,
                                const DiffOptions& options, const Progress& progress) {
  CheckpointDiff diff;
  int64_t done = 0, total = 0;
  for (const GlobalTensor& tensor : a.tensors()) total += tensor.bytes();
  const auto wanted = [&](const std::string& role) {
    return options.roles.empty() ||
           std::find(options.roles.begin(), options.roles.end(), role) != options.roles.end();
  };
  for (const GlobalTensor& x : a.tensors()) {
    if (wanted(x.role)) {
      const GlobalTensor* y = b.find(x.name, x.role);
      diff.tensors.push_back(y != nullptr
                                 ? compare(a, b, x, *y)
                                 : TensorDifference{x.name, x.role, Kind::only_in_a, x.size()});
    }
    done += x.bytes();
    if (progress) progress(done, total);
  }
  for (const GlobalTensor& y : b.tensors())
    if (wanted(y.role) && a.find(y.name, y.role) == nullptr)
      diff.tensors.push_back({y.name, y.role, Kind::only_in_b, y.size()});
  std::stable_sort(diff.tensors.begin(), diff.tensors.end(), [](const auto& x, const auto& y) {
    return std::tie(x.name, x.role) < std::tie(y.name, y.role);
  });
  diff.scalars = compare_scalars(a.scalars(), b.scalars());
  return diff;
}

std::string describe(const TensorDifference& difference) {
  const std::string label = difference.name + " (" + difference.role + "): ";
  switch (difference.kind) {
    case Kind::equal: return label + "equal bits";
    case Kind::shape: return label + "shapes differ";
    case Kind::only_in_a: return label + "only in the first";
    case Kind::only_in_b: return label + "only in the second";
    case Kind::dtype:
    case Kind::values: break;
  }
  char numbers[160];
  std::snprintf(numbers, sizeof numbers,
                "%lld of %lld elements differ, max |a-b| %.3g, relative %.3g",
                static_cast<long long>(difference.num_different),
                static_cast<long long>(difference.num_elements), difference.max_abs,
                difference.relative_frobenius);
  return label + (difference.kind == Kind::dtype ? "dtypes differ; " : "") + numbers;
}

}  // namespace tessera
