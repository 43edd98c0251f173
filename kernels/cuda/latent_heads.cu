// SPDX-License-Identifier: Apache-2.0
// Keys and values of latent attention: copies of pieces of rows, and the sum over heads of the
// shared key's gradient.
#include "kernels/cuda/for_each.cuh"
#include "kernels/latent_heads.h"

namespace tessera::cuda {
namespace {

// Elements move as words: a pack where all sizes are multiples of one and all rows aligned.
template <typename Word>
struct PutTogether {
  Matrix<const Word> up, shared;
  Matrix<Word> keys, values;
  int nope, rope, v;  // words

  // A column of what is written: (head, key then value).
  __device__ void operator()(int64_t row, int64_t column, int64_t) const {
    const int each = nope + rope + v;
    const int head = static_cast<int>(column) / each, i = static_cast<int>(column) % each;
    const Word* from = up.row(row) + head * (nope + v);
    Word* key = keys.row(row) + head * (nope + rope);
    if (i < nope)
      key[i] = from[i];
    else if (i < nope + rope)
      key[i] = shared.row(row)[i - nope];
    else
      values.row(row)[head * v + i - nope - rope] = from[i - rope];
  }
};

template <typename Word>
struct TakeApart {
  Matrix<const Word> dkeys, dvalues;
  Matrix<Word> dup;
  int nope, rope, v;

  __device__ void operator()(int64_t row, int64_t column, int64_t) const {
    const int each = nope + v;
    const int head = static_cast<int>(column) / each, i = static_cast<int>(column) % each;
    dup.row(row)[column] =
        i < nope ? dkeys.row(row)[head * (nope + rope) + i] : dvalues.row(row)[head * v + i - nope];
  }
};

template <typename T>
struct SumShared {
  Matrix<const T> dkeys;
  Matrix<T> dshared;
  int heads, nope, rope;

  __device__ void operator()(int64_t row, int64_t column, int64_t) const {
    const T* from = dkeys.row(row) + nope + column;
    float sum = 0;
    for (int head = 0; head < heads; ++head) sum += widen(from[head * (nope + rope)]);
    dshared.row(row)[column] = narrow<T>(sum);
  }
};

// Calls function(Word{}, elements per word) with the widest word that fits.
template <typename Function>
void with_words(const LatentHeads& shape, std::initializer_list<const Tensor*> tensors,
                Function function) {
  const Tensor& first = **tensors.begin();
  const auto size = static_cast<uint64_t>(size_of(first.dtype()));
  uint64_t all = size * static_cast<uint64_t>(shape.nope_dim | shape.rope_dim | shape.v_dim);
  for (const Tensor* x : tensors)
    all |= reinterpret_cast<uintptr_t>(x->data()) | static_cast<uint64_t>(x->pitch()) * size;
  if (all % 16 == 0) return function(Word16{}, static_cast<int>(16 / size));
  if (size == 2) return function(uint16_t{}, 1);
  function(uint32_t{}, 1);
}

}  // namespace

void latent_heads(Stream& stream, const LatentHeads& shape, const Tensor& up, const Tensor& shared,
                  const Tensor& keys, const Tensor& values) {
  with_words(shape, {&up, &shared, &keys, &values}, [&](auto word, int each) {
    using Word = decltype(word);
    const int nope = shape.nope_dim / each, rope = shape.rope_dim / each, v = shape.v_dim / each;
    for_each<1>(stream, up.rows(), int64_t{shape.num_heads} * (nope + rope + v),
                PutTogether<Word>{words<const Word>(up), words<const Word>(shared),
                                  words<Word>(keys), words<Word>(values), nope, rope, v});
  });
}

void latent_heads_backward(Stream& stream, const LatentHeads& shape, const Tensor& dkeys,
                           const Tensor& dvalues, const Tensor& dup, const Tensor& dshared) {
  with_words(shape, {&dkeys, &dvalues, &dup}, [&](auto word, int each) {
    using Word = decltype(word);
    const int nope = shape.nope_dim / each, rope = shape.rope_dim / each, v = shape.v_dim / each;
    for_each<1>(stream, dup.rows(), int64_t{shape.num_heads} * (nope + v),
                TakeApart<Word>{words<const Word>(dkeys), words<const Word>(dvalues),
                                words<Word>(dup), nope, rope, v});
  });
  with_type(dup.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    for_each<1>(stream, dup.rows(), shape.rope_dim,
                SumShared<T>{matrix<const T>(dkeys), matrix<T>(dshared), shape.num_heads,
                             shape.nope_dim, shape.rope_dim});
  });
}

}  // namespace tessera::cuda
