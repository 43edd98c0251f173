// SPDX-License-Identifier: Apache-2.0
// The inner loops of the CPU backend, in C terms: pointers, counts and plain structs, no Tensor.
// kernels/cpu/simd/ defines each table once per instruction-set path; loops() gives those of the
// path in use. Who calls (kernels/cpu/<name>.cc) unpacks tensors and splits the work into fixed
// blocks, so that a result never depends on the number of threads.
#pragma once

#include <cstdint>

namespace tessera::cpu {

enum class Element { f32, bf16, f16 };  // how elements are stored; arithmetic is f32

struct ElementwiseLoops {
  void (*cast)(Element from, const void* in, Element to, void* out, int64_t count);
  // rows x columns floats to where nobody looks for them soon: memory is written, not read first.
  // REQUIRES `to` and its pitch on multiples of 64 bytes, and columns of 16.
  void (*stream)(const float* from, int64_t from_pitch, float* to, int64_t to_pitch, int64_t rows,
                 int64_t columns);
  void (*add)(Element element, const void* a, const void* b, void* out, int64_t count);
  void (*scale)(Element element, const void* in, float factor, void* out, int64_t count);
  void (*swiglu)(Element element, const void* gate, const void* up, void* y, int64_t count);
  void (*swiglu_backward)(Element element, const void* gate, const void* up, const void* dy,
                          void* dgate, void* dup, int64_t count);
};

struct NormLoops {
  // One row; returns 1 / rms.
  float (*forward)(Element element, const void* x, const void* weight, float epsilon, void* y,
                   int64_t width);
  void (*backward_input)(Element element, const void* x, const void* weight, float inv_rms,
                         const void* dy, void* dx, int64_t width);
  // dweight[0, columns) += sum over rows; columns <= kNormColumns.
  void (*backward_weight)(Element element, const void* x, int64_t x_pitch, const float* inv_rms,
                          const void* dy, int64_t dy_pitch, int64_t rows, int64_t columns,
                          float* dweight);
};
constexpr int64_t kNormColumns = 64;

struct RopeRow {
  int64_t num_heads, head_dim, offset, pairs;
  bool interleaved, inverse;
  const float* table;  // cosines, then sines
};
constexpr int64_t kMaxRopePairs = 512;
struct RopeLoops {
  void (*rotate)(Element element, const RopeRow& shape, void* x);
};

struct CrossEntropyLoops {
  // max_and_sum[0] = maximum, [1] = sum of exp(logit - maximum)
  void (*stats)(const float* logits, int64_t count, float* max_and_sum);
  // target: index of the target in this row, or negative
  void (*backward)(const float* logits, int64_t count, int64_t target, float log_sum_exp,
                   float dloss, Element element, void* dlogits);
};

struct ReduceLoops {
  double (*sum_of_squares)(Element element, const void* x, int64_t count);
  int64_t (*count_non_finite)(Element element, const void* x, int64_t count);
  void (*add_to)(Element element, const void* x, float* sums, int64_t count);  // sums += x
};

struct RouterLoops {
  void (*softmax)(const float* logits, int64_t count, float* scores);
  void (*sigmoids)(const float* logits, int64_t count, float* scores);
  // out = sum of weights[r] * rows[r], num_rows > 0 of them, in their order.
  void (*combine)(Element element, const void* const* rows, const float* weights, int64_t num_rows,
                  void* out, int64_t count);
  // *dot = <g, h>, then both times weight.
  void (*weigh)(Element element, float weight, void* g, void* h, int64_t count, float* dot);
};

struct AdamWFactors {
  float grad_scale, decay, beta1, one_minus_beta1, beta2, one_minus_beta2, step_size,
      inv_correction2, epsilon;
};
struct UpdateLoops {
  void (*adamw)(const AdamWFactors& factors, const float* grad, float* master, float* m, float* v,
                Element element, void* compute, int64_t count);
};

// A matrix product is computed in tiles of 8 x 48 from panels: op(A) as [words][8], op(B) as
// [words][48], zeros where the matrix ends. A word is 32 bits: one f32 of one k, or two bf16 of
// two neighbouring k (v4_bf16).
constexpr int64_t kPanelRows = 8;
constexpr int64_t kPanelColumns = 48;
struct GemmLoops {
  int64_t depth_of_word;  // 1 or 2
  Element word;           // a row stored as this is a row of words as it lies
  // panel[k][i] = from[i * lane_step + k * depth_step] for i < lanes, 0 for lanes <= i < width;
  // steps count elements and one of them is 1. More lanes than `width` are further panels, one
  // after the other: where lanes run along memory, narrow ones use up a line of it together.
  void (*pack)(Element element, const void* from, int64_t lane_step, int64_t depth_step,
               int64_t lanes, int64_t depth, int64_t width, void* panel);
  // c[rows][16 * vectors] (row step c_step) = or += sum over `words` of a[w][i] * b[w][j]. Rows of
  // c from `rows` <= 8 on are written or left alone. a_lane = 0: a is a panel; else its word w of
  // lane i lies at a[i * a_lane + w], for eight lanes. Meanwhile the first 4 * words words from
  // `next` on, which may be anywhere, are brought into the cache.
  void (*multiply)(const void* a, int64_t a_lane, const void* b, int64_t words, int64_t vectors,
                   bool add, int64_t rows, float* c, int64_t c_step, const void* next);
};
const GemmLoops& gemm_loops(Element element);  // of cpu_path()

// Multiply-adds in registers, for kernels/peak.h.
struct PeakLoops {
  int64_t flops_of_round;
  float (*run)(int64_t rounds);
};
const PeakLoops& peak_loops(Element element);  // of cpu_path(), as gemm_loops()

// One head of one sequence. Elements of row i of q start at q + i * q_pitch, and so on.
struct AttentionHead {
  Element element;
  int64_t qk_dim, v_dim, query_length, key_length;
  float scale;
  const int32_t* document_starts;  // of the first query row, or null
  const void *q, *k, *v;
  int64_t q_pitch, k_pitch, v_pitch;
  void* out;
  int64_t out_pitch;
  float* log_sum_exp;
  int64_t log_sum_exp_pitch;
};
// The gradients of all `group` heads that share one key and value head. `head` describes the first
// of them; the others follow it in memory (columns of q and out, of log_sum_exp).
struct AttentionGroup {
  AttentionHead head;
  int64_t group;
  const void* dout;
  void *dq, *dk, *dv;
  int64_t dout_pitch, dq_pitch, dk_pitch, dv_pitch;
};
struct AttentionLoops {
  int64_t (*forward_scratch)(const AttentionHead& head);  // floats
  void (*forward)(const AttentionHead& head, float* scratch);
  int64_t (*backward_scratch)(const AttentionGroup& group);
  void (*backward)(const AttentionGroup& group, float* scratch);
};
const AttentionLoops& attention_loops(Element element);  // of cpu_path(), as gemm_loops()

struct Loops {
  const ElementwiseLoops& elementwise;
  const NormLoops& norm;
  const RopeLoops& rope;
  const CrossEntropyLoops& cross_entropy;
  const ReduceLoops& reduce;
  const UpdateLoops& update;
  const RouterLoops& router;
};
const Loops& loops();  // of cpu_path()

}  // namespace tessera::cpu
