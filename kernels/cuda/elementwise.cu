// SPDX-License-Identifier: Apache-2.0
// Element-wise arithmetic in f32, one rounding at the end. Each thread reads its pack of every
// input before it writes, so outputs may be inputs.
#include "kernels/cuda/for_each.cuh"
#include "kernels/elementwise.h"

namespace tessera::cuda {
namespace {

// 1 / (1 + exp(-z)); of z below -88 the exponential is infinite and the result 0.
__device__ float sigmoid(float z) {
  return 1.0f / (1.0f + expf(-z));
}

template <typename T>
struct Add {
  Matrix<const T> a, b;
  Matrix<T> out;

  __device__ void operator()(int64_t row, int64_t column, int64_t valid) const {
    float x[kPack<T>], y[kPack<T>];
    load(a.row(row) + column, valid, a.aligned, x);
    load(b.row(row) + column, valid, b.aligned, y);
#pragma unroll
    for (int i = 0; i < kPack<T>; ++i) x[i] += y[i];
    store(out.row(row) + column, valid, out.aligned, x);
  }
};

template <typename T>
struct Scale {
  Matrix<const T> in;
  Matrix<T> out;
  float factor;

  __device__ void operator()(int64_t row, int64_t column, int64_t valid) const {
    float x[kPack<T>];
    load(in.row(row) + column, valid, in.aligned, x);
#pragma unroll
    for (int i = 0; i < kPack<T>; ++i) x[i] *= factor;
    store(out.row(row) + column, valid, out.aligned, x);
  }
};

template <typename T>
struct Swiglu {
  Matrix<const T> gate, up;
  Matrix<T> y;

  __device__ void operator()(int64_t row, int64_t column, int64_t valid) const {
    float z[kPack<T>], u[kPack<T>];
    load(gate.row(row) + column, valid, gate.aligned, z);
    load(up.row(row) + column, valid, up.aligned, u);
#pragma unroll
    for (int i = 0; i < kPack<T>; ++i) z[i] = z[i] * sigmoid(z[i]) * u[i];
    store(y.row(row) + column, valid, y.aligned, z);
  }
};

template <typename T>
struct SwigluBackward {
  Matrix<const T> gate, up, dy;
  Matrix<T> dgate, dup;

  __device__ void operator()(int64_t row, int64_t column, int64_t valid) const {
    float z[kPack<T>], u[kPack<T>], d[kPack<T>];
    load(gate.row(row) + column, valid, gate.aligned, z);
    load(up.row(row) + column, valid, up.aligned, u);
    load(dy.row(row) + column, valid, dy.aligned, d);
#pragma unroll
    for (int i = 0; i < kPack<T>; ++i) {
      const float s = sigmoid(z[i]), silu = z[i] * s;
      u[i] = d[i] * u[i] * s * (1.0f + z[i] * (1.0f - s));
      d[i] *= silu;
    }
    store(dgate.row(row) + column, valid, dgate.aligned, u);
    store(dup.row(row) + column, valid, dup.aligned, d);
  }
};

}  // namespace

void add(Stream& stream, const Tensor& a, const Tensor& b, const Tensor& out) {
  with_type(out.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const Shape shape = common_shape({&a, &b, &out});
    for_each<kPack<T>>(stream, shape.rows, shape.columns,
                       Add<T>{matrix<const T>(a), matrix<const T>(b), matrix<T>(out)});
  });
}

void scale(Stream& stream, const Tensor& in, double factor, const Tensor& out) {
  with_type(out.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const Shape shape = common_shape({&in, &out});
    for_each<kPack<T>>(stream, shape.rows, shape.columns,
                       Scale<T>{matrix<const T>(in), matrix<T>(out), static_cast<float>(factor)});
  });
}

void swiglu(Stream& stream, const Tensor& gate, const Tensor& up, const Tensor& y) {
  with_type(y.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const Shape shape = common_shape({&gate, &up, &y});
    for_each<kPack<T>>(stream, shape.rows, shape.columns,
                       Swiglu<T>{matrix<const T>(gate), matrix<const T>(up), matrix<T>(y)});
  });
}

void swiglu_backward(Stream& stream, const Tensor& gate, const Tensor& up, const Tensor& dy,
                     const Tensor& dgate, const Tensor& dup) {
  with_type(dy.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const Shape shape = common_shape({&gate, &up, &dy, &dgate, &dup});
    for_each<kPack<T>>(stream, shape.rows, shape.columns,
                       SwigluBackward<T>{matrix<const T>(gate), matrix<const T>(up),
                                         matrix<const T>(dy), matrix<T>(dgate), matrix<T>(dup)});
  });
}

}  // namespace tessera::cuda
