// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/gpu_check.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "kernels/copy.h"
#include "kernels/transfer.h"

namespace tessera::bench {
namespace {

// Results in the host's memory, dense.
std::vector<Tensor> on_the_host(Stream& stream, const GpuCheck::Results& make) {
  std::vector<Tensor> all;
  for (const Tensor& result : make(stream)) {
    const Tensor host(Device{}, result.dtype(), {result.rows(), result.columns()});
    download(stream, result, host);
    all.push_back(host);
  }
  return all;
}

bool equal_bits(const Tensor& a, const Tensor& b) {
  return a.bytes() == b.bytes() &&
         std::memcmp(a.data(), b.data(), static_cast<size_t>(a.bytes())) == 0;
}

// ||a - b|| / ||b||; infinite where an element is no number.
double difference(const Tensor& a, const Tensor& b) {
  Stream host{Device{}};
  const auto wide = [&](const Tensor& x) {
    if (x.dtype() == DType::f32) return x;
    const Tensor out(Device{}, DType::f32, {x.rows(), x.columns()});
    cast(host, x, out);
    return out;
  };
  const Tensor x = wide(a), y = wide(b);
  double apart = 0, size = 0;
  for (int64_t i = 0; i < x.size(); ++i) {
    const double u = x.as<float>()[i], v = y.as<float>()[i];
    apart += (u - v) * (u - v);
    size += v * v;
  }
  const double relative = apart == 0 ? 0 : std::sqrt(apart / size);
  return std::isfinite(relative) ? relative : std::numeric_limits<double>::infinity();
}

}  // namespace

Verdict verdict_of(Stream& stream, const GpuCheck& check) {
  const std::vector<Tensor> first = on_the_host(stream, check.one);
  const std::vector<Tensor> again = on_the_host(stream, check.one);
  const std::vector<Tensor> other = on_the_host(stream, check.other);
  Verdict verdict;
  const auto wrong = [&](const std::string& what) {
    if (verdict.wrong.empty()) verdict.wrong = what;
  };
  if (first.empty() || first.size() != other.size()) wrong("not the same number of results");
  for (size_t i = 0; i < std::min(first.size(), other.size()); ++i) {
    const std::string result = "result " + std::to_string(i);
    if (first[i].size() != other[i].size()) {
      wrong(result + " has another size");
      continue;
    }
    verdict.difference = std::max(verdict.difference, difference(first[i], other[i]));
    if (!equal_bits(first[i], again[i])) wrong(result + " has other bits the second time");
    if (check.same_bits && !equal_bits(first[i], other[i])) wrong(result + " has other bits");
  }
  if (!(verdict.difference <= kMostDifference)) wrong("too far apart");
  return verdict;
}

}  // namespace tessera::bench
