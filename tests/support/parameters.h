// SPDX-License-Identifier: Apache-2.0
// What a ParameterStore holds, parameter by parameter. Without ZeRO piece i is parameter i.
#pragma once

#include "kernels/copy.h"
#include "tests/support/numeric.h"
#include "trainer/model/parameter.h"

namespace tessera::test {

inline const Piece& piece(const ParameterStore& store, int parameter) {
  return store.pieces().at(static_cast<size_t>(parameter));
}
inline Tensor master(const ParameterStore& store, int parameter) {
  return store.master(piece(store, parameter));
}
inline Tensor gradient(const ParameterStore& store, int parameter) {
  return store.grad(piece(store, parameter));
}

// One after another, of every piece.
template <typename TensorOf>
std::vector<double> values_of_all(const ParameterStore& store, TensorOf&& tensor_of) {
  std::vector<double> all;
  for (const Piece& piece : store.pieces())
    for (const double value : values_of(tensor_of(piece))) all.push_back(value);
  return all;
}
inline std::vector<double> masters_of(const ParameterStore& store) {
  return values_of_all(store, [&](const Piece& piece) { return store.master(piece); });
}
// They hold nothing, which a test sees as zeros.
inline void zero_grads(Stream& stream, ParameterStore& store) {
  store.clear_grads();
  for (const Piece& piece : store.pieces()) fill(stream, 0, store.grad(piece));
}
inline std::vector<double> grads_of(const ParameterStore& store) {
  return values_of_all(store, [&](const Piece& piece) { return store.grad(piece); });
}

}  // namespace tessera::test
