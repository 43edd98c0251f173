// SPDX-License-Identifier: Apache-2.0
#include "tests/support/muon.h"

#include <algorithm>
#include <cmath>

#include "kernels/copy.h"
#include "tests/support/numeric.h"

namespace tessera::test {
namespace {

// a b^T of matrices with n columns each.
std::vector<double> product(const std::vector<double>& a, const std::vector<double>& b, size_t n) {
  const size_t rows = a.size() / n, columns = b.size() / n;
  std::vector<double> c(rows * columns, 0);
  for (size_t i = 0; i < rows; ++i)
    for (size_t j = 0; j < columns; ++j)
      for (size_t k = 0; k < n; ++k) c[i * columns + j] += a[i * n + k] * b[j * n + k];
  return c;
}

std::vector<double> transposed(const std::vector<double>& a, size_t rows) {
  const size_t columns = a.size() / rows;
  std::vector<double> out(a.size());
  for (size_t i = 0; i < rows; ++i)
    for (size_t j = 0; j < columns; ++j) out[j * rows + i] = a[i * columns + j];
  return out;
}

void write(const std::vector<double>& values, const Tensor& out) {
  for (int64_t row = 0; row < out.rows(); ++row)
    for (int64_t column = 0; column < out.columns(); ++column) {
      const double value = values[static_cast<size_t>(row * out.columns() + column)];
      if (out.dtype() == DType::f64)
        out.row<double>(row)[column] = value;
      else
        out.row<float>(row)[column] = static_cast<float>(value);
    }
}

}  // namespace

std::vector<double> orthogonalized(std::vector<double> matrix, int64_t rows) {
  auto m = static_cast<size_t>(rows);
  const size_t n = matrix.size() / m;
  if (m > n) return transposed(orthogonalized(transposed(matrix, m), static_cast<int64_t>(n)), n);
  double squares = 0;
  for (const double x : matrix) squares += x * x;
  for (double& x : matrix) x /= std::max(std::sqrt(squares), 1e-7);
  for (int step = 0; step < 5; ++step) {
    const std::vector<double> a = product(matrix, matrix, n);
    std::vector<double> mix = product(a, a, m);  // a is symmetric
    for (size_t i = 0; i < mix.size(); ++i) mix[i] = -4.7750 * a[i] + 2.0315 * mix[i];
    const std::vector<double> more = product(mix, transposed(matrix, m), m);
    for (size_t i = 0; i < matrix.size(); ++i) matrix[i] = 3.4445 * matrix[i] + more[i];
  }
  return matrix;
}

Muon::Muon(ParameterStore& store, double weight_decay)
    : store_(store),
      weight_decay_(weight_decay),
      momentum_(store.attach_state("momentum_buffer")) {}

std::array<double, kNumChoices> Muon::choice(double learning_rate, int64_t /*update*/) const {
  return {learning_rate, 1, 1};
}

void Muon::step(Stream& stream, const Tensor& controls) {
  constexpr double kMomentum = 0.95;
  stream.synchronize();
  const auto* control = controls.as<double>();
  if (control[kApply] == 0) return;
  for (const Piece& piece : store_.pieces()) {
    const Parameter& parameter = store_.at(piece.parameter);
    check(piece.rows == parameter.rows(), "Muon: a rank has a part of", parameter.name);
    std::vector<double> weights = values_of(store_.master(piece));
    std::vector<double> momentum = values_of(store_.state(momentum_, piece));
    std::vector<double> update = values_of(store_.grad(piece));
    for (size_t i = 0; i < update.size(); ++i) {
      const double g = update[i] * control[kGradScale];
      momentum[i] = kMomentum * momentum[i] + (1 - kMomentum) * g;
      update[i] = (1 - kMomentum) * g + kMomentum * momentum[i];
    }
    double size = 1;
    if (piece.rows > 1) {
      update = orthogonalized(update, piece.rows);
      size = 0.2 * std::sqrt(static_cast<double>(std::max(piece.rows, piece.columns)));
    }
    const double rate = control[kLearningRate];
    for (size_t i = 0; i < update.size(); ++i)
      weights[i] = weights[i] * (1 - rate * weight_decay_) - rate * size * update[i];
    write(momentum, store_.state(momentum_, piece));
    write(weights, store_.master(piece));
    cast(stream, store_.master(piece), store_.value(piece));
  }
}

}  // namespace tessera::test
