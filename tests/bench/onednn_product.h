// SPDX-License-Identifier: Apache-2.0
// A matrix product by oneDNN, the peer of ours. C is overwritten. Contiguous f32 or bf16 matrices.
#pragma once

#include <unordered_map>

#include <dnnl.hpp>

#include "kernels/gemm.h"

namespace tessera {

class OneDnnProduct {
 public:
  explicit OneDnnProduct(const Gemm& product)
      : engine_(dnnl::engine::kind::cpu, 0), stream_(engine_) {
    using dnnl::memory;
    const auto type_of = [](const Tensor& tensor) {
      return tensor.dtype() == DType::bf16 ? memory::data_type::bf16 : memory::data_type::f32;
    };
    const auto type = type_of(product.a);
    const auto described = [&](int64_t rows, int64_t columns, bool transposed) {
      return transposed ? memory::desc({rows, columns}, type, memory::dims{1, rows})
                        : memory::desc({rows, columns}, type, memory::dims{columns, 1});
    };
    const auto a = described(product.m(), product.k(), product.transpose_a);
    const auto b = described(product.k(), product.n(), product.transpose_b);
    const auto c =
        memory::desc({product.m(), product.n()}, type_of(product.c), memory::dims{product.n(), 1});
    matmul_ = dnnl::matmul({dnnl::matmul::desc(a, b, c), engine_});
    arguments_ = {{DNNL_ARG_SRC, memory(a, engine_, product.a.data())},
                  {DNNL_ARG_WEIGHTS, memory(b, engine_, product.b.data())},
                  {DNNL_ARG_DST, memory(c, engine_, product.c.data())}};
  }
  void run() {
    matmul_.execute(stream_, arguments_);
    stream_.wait();
  }

 private:
  dnnl::engine engine_;
  dnnl::stream stream_;
  dnnl::matmul matmul_;
  std::unordered_map<int, dnnl::memory> arguments_;
};

}  // namespace tessera
