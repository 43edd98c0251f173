// SPDX-License-Identifier: Apache-2.0
// Attention by cuDNN's graph API, through the frontend's headers; their only home. A graph has one
// operation, scaled dot-product attention or its gradient, causal, with the log-sum-exp ("stats",
// natural logarithm, f32) as output and input. Matrices are what cuDNN calls (batch, heads,
// positions, size) with strides, so ours need no copy. The exception is the log-sum-exp of the
// backward pass, which cuDNN before 9.26 reads as (batch, heads, positions) without gaps only: it
// is transposed, sequence by sequence.
//
// The backward pass is cuDNN's deterministic one. On sm_90 that one keeps the gradients of all
// scores, 2 bytes x heads x positions^2 a sequence, as workspace: above most_workspace() we do it
// ourselves. Workspace is MemoryClass::other. What cuDNN declines is asked once per shape and kept.
#include "kernels/cuda/attention_cudnn.h"

#include <algorithm>
#include <bit>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include <cudnn_frontend.h>

#include "kernels/copy.h"
#include "kernels/cuda/native.h"

namespace tessera::cuda {
decltype(tessera::transpose) transpose;
namespace {

namespace fe = cudnn_frontend;

constexpr double kGib = 1 << 30;
constexpr int kHeadMultiple = 8;
constexpr uintptr_t kAlignment = 16;  // bytes

void check(cudnnStatus_t result, const char* what, Where where = Where()) {
  if (result == CUDNN_STATUS_SUCCESS) return;
  const bool full = result == CUDNN_STATUS_ALLOC_FAILED;
  throw Error(full ? ErrorKind::capacity : ErrorKind::peer,
              std::string("cuDNN: ") + what + ": " + cudnnGetErrorString(result), where);
}

// The tensors of a graph, by the numbers that it knows them by.
enum Role : int64_t { kQ = 1, kK, kV, kOut, kStats, kStatsByHeads, kDOut, kDq, kDk, kDv };
bool is_stats(Role role) {
  return role == kStats || role == kStatsByHeads;
}

// One tensor as cuDNN sees it; heads x size columns of ours.
struct Part {
  Role role;
  const Tensor* tensor;
  int heads;
  int size;
};

// Everything that a plan depends on: the device, the direction, the type, the shape, the scale and
// each part's pitch.
using Key = std::vector<int64_t>;
Key key_of(int device, const Attention& shape, const std::vector<Part>& parts) {
  Key key = {device,
             static_cast<int64_t>(parts.front().tensor->dtype()),
             shape.num_heads,
             shape.num_kv_heads,
             shape.qk_dim,
             shape.v_dim,
             shape.num_sequences,
             shape.query_length,
             static_cast<int64_t>(std::bit_cast<uint32_t>(static_cast<float>(shape.scale)))};
  for (const Part& part : parts) key.insert(key.end(), {part.role, part.tensor->pitch()});
  return key;
}

// A sixteenth of the device, at most 4 GiB: what 4 sequences of 16 heads and 4096 positions want,
// twice. Free memory would be a better bound for one run, but a run that resumes finds other memory
// free and must not attend with other bits.
int64_t most_workspace(int device) {
  constexpr int64_t kMost = int64_t{4} << 30, kShare = 16;
  const CurrentDevice current(device);
  size_t free = 0, total = 0;
  tessera::check(cudaMemGetInfo(&free, &total), "asking how much memory the device has");
  return std::min(kMost, static_cast<int64_t>(total) / kShare);
}

std::string in_gib(int64_t bytes) {
  std::string text = std::to_string(static_cast<double>(bytes) / kGib);
  return text.substr(0, text.find('.') + 2) + " GiB";
}

// Why it need not be asked; empty: it may serve.
std::string why_not(const Attention& shape, const Tensor& document_starts,
                    const std::vector<Part>& parts) {
  if (!document_starts.empty()) return "document boundaries";
  if (shape.query_length != shape.key_length) return "other numbers of queries and of keys";
  if (shape.qk_dim % kHeadMultiple != 0 || shape.v_dim % kHeadMultiple != 0)
    return "head sizes that are no multiples of 8";
  for (const Part& part : parts) {
    if (is_stats(part.role)) continue;
    const DType dtype = part.tensor->dtype();
    if (dtype != DType::bf16 && dtype != DType::f16) return std::string(name(dtype));
    if (part.tensor->pitch() % kHeadMultiple != 0 ||
        reinterpret_cast<uintptr_t>(part.tensor->data()) % kAlignment != 0)
      return "rows that are not aligned to 16 bytes";
  }
  return {};
}

struct Plan {
  fe::graph::Graph graph;
  int64_t workspace = 0;  // bytes
  std::string declined;   // why cuDNN or we decline it; empty: it can be run
};

// Builds the graph of one direction.
class Drawing {
 public:
  Drawing(cudnnHandle_t library, int device, const Attention& shape, DType dtype)
      : library_(library), device_(device), shape_(shape), plan_(std::make_unique<Plan>()) {
    plan_->graph
        .set_io_data_type(dtype == DType::bf16 ? fe::DataType_t::BFLOAT16 : fe::DataType_t::HALF)
        .set_intermediate_data_type(fe::DataType_t::FLOAT)
        .set_compute_data_type(fe::DataType_t::FLOAT);
  }

  std::unique_ptr<Plan> forward(const std::vector<Part>& parts) {
    auto options = fe::graph::SDPA_attributes();
    options.set_name("attention").set_generate_stats(true);
    causal(options);
    const auto [out, stats] =
        plan_->graph.sdpa(input(parts[0]), input(parts[1]), input(parts[2]), std::move(options));
    output(out, parts[3]);
    output(stats, parts[4]);
    return finished();
  }

  std::unique_ptr<Plan> backward(const std::vector<Part>& parts) {
    auto options = fe::graph::SDPA_backward_attributes();
    options.set_name("attention_backward").set_deterministic_algorithm(true);
    causal(options);
    const auto q = input(parts[0]), k = input(parts[1]), v = input(parts[2]), out = input(parts[3]),
               stats = input(parts[4]), dout = input(parts[5]);
    const auto [dq, dk, dv] =
        plan_->graph.sdpa_backward(q, k, v, out, dout, stats, std::move(options));
    output(dq, parts[6]);
    output(dk, parts[7]);
    output(dv, parts[8]);
    return finished();
  }

 private:
  using Node = std::shared_ptr<fe::graph::Tensor_attributes>;

  template <typename Options>
  void causal(Options& options) const {
    options.set_attn_scale(static_cast<float>(shape_.scale))
        .set_diagonal_alignment(fe::DiagonalAlignment_t::TOP_LEFT)
        .set_diagonal_band_right_bound(0);
  }

  void describe(fe::graph::Tensor_attributes& node, const Part& part) const {
    const int64_t length = shape_.query_length, pitch = part.tensor->pitch();
    node.set_uid(part.role).set_dim({shape_.num_sequences, part.heads, length, part.size});
    if (part.role == kStatsByHeads)
      node.set_stride({part.heads * length, length, 1, 1});
    else
      node.set_stride({length * pitch, part.size, pitch, 1});
    if (is_stats(part.role)) node.set_data_type(fe::DataType_t::FLOAT);
  }
  Node input(const Part& part) {
    fe::graph::Tensor_attributes node;
    describe(node, part);
    return plan_->graph.tensor(node);
  }
  void output(const Node& node, const Part& part) const {
    node->set_output(true);
    describe(*node, part);
  }

  std::unique_ptr<Plan> finished() {
    fe::error_t built = plan_->graph.build(library_, {fe::HeurMode_t::A});
    if (built.is_bad()) {
      plan_->declined = built.get_message().empty() ? "no reason given" : built.get_message();
      return std::move(plan_);
    }
    plan_->workspace = plan_->graph.get_workspace_size();
    if (const int64_t most = most_workspace(device_); plan_->workspace > most)
      plan_->declined =
          "its workspace of " + in_gib(plan_->workspace) + " is more than " + in_gib(most);
    return std::move(plan_);
  }

  cudnnHandle_t library_;
  int device_;
  const Attention& shape_;
  std::unique_ptr<Plan> plan_;
};

using Library = Handle<cudnnHandle_t, cudnnDestroy>;

// What a process keeps: never destroyed, since the driver may be gone by then. The mutex is held
// while a plan is built or launched, since a library has one stream at a time.
struct Kept {
  std::mutex mutex;
  std::map<int, Library> libraries;            // of each device
  std::map<Key, std::unique_ptr<Plan>> plans;  // declined ones, too
  int64_t calls = 0;                           // served
};
Kept& kept() {
  static Kept& all = *new Kept;
  return all;
}

// REQUIRES the mutex.
cudnnHandle_t library_of(int device) {
  Library& library = kept().libraries[device];
  if (library.get() == nullptr) check(cudnnCreate(library.out()), "the library");
  return library.get();
}

// draw: (Drawing&) -> plan.
template <typename Draw>
const Plan& plan_of(const Stream& stream, const Attention& shape, const std::vector<Part>& parts,
                    Draw draw) {
  const std::lock_guard lock(kept().mutex);
  const int device = stream.device().index;
  const Key key = key_of(device, shape, parts);
  auto known = kept().plans.find(key);
  if (known == kept().plans.end()) {
    Drawing drawing(library_of(device), device, shape, parts.front().tensor->dtype());
    known = kept().plans.emplace(key, draw(drawing)).first;
  }
  return *known->second;
}

Tensor workspace_of(const Stream& stream, const Plan& plan) {
  if (plan.workspace == 0) return {};
  try {
    return Tensor(stream.device(), DType::f8_e4m3, {plan.workspace}, MemoryClass::other);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::capacity) throw;
    fail(ErrorKind::capacity, std::string(error.what()) +
                                  " (cuDNN's attention wanted it as workspace: "
                                  "TESSERA_ATTENTION=own needs none)");
  }
}

void run(Stream& stream, const Plan& plan, const std::vector<Part>& parts) {
  const Tensor workspace = workspace_of(stream, plan);
  std::unordered_map<int64_t, void*> places;
  for (const Part& part : parts) places[part.role] = part.tensor->data();
  const std::lock_guard lock(kept().mutex);
  const cudnnHandle_t library = library_of(stream.device().index);
  check(cudnnSetStream(library, native(stream)), "the stream");
  fe::error_t result =
      plan.graph.execute(library, places, plan.workspace > 0 ? workspace.data() : nullptr);
  tessera::check(result.is_good(), ErrorKind::peer, "cuDNN: attention:", result.get_message());
  ++kept().calls;
}

// (rows, heads) -> (sequences * heads, positions).
Tensor by_heads(Stream& stream, const Attention& shape, const Tensor& log_sum_exp) {
  const int64_t heads = shape.num_heads, length = shape.query_length;
  const Tensor turned(stream.device(), DType::f32, {shape.num_sequences * heads, length},
                      MemoryClass::other);
  for (int64_t i = 0; i < shape.num_sequences; ++i)
    cuda::transpose(stream, log_sum_exp.row_slice(i * length, length),
                    turned.row_slice(i * heads, heads));
  return turned;
}

}  // namespace

std::string library_attention(Stream& stream, const Attention& shape, const Tensor& q,
                              const Tensor& k, const Tensor& v, const Tensor& document_starts,
                              const Tensor& out, const Tensor& log_sum_exp) {
  const std::vector<Part> parts = {{kQ, &q, shape.num_heads, shape.qk_dim},
                                   {kK, &k, shape.num_kv_heads, shape.qk_dim},
                                   {kV, &v, shape.num_kv_heads, shape.v_dim},
                                   {kOut, &out, shape.num_heads, shape.v_dim},
                                   {kStats, &log_sum_exp, shape.num_heads, 1}};
  if (std::string why = why_not(shape, document_starts, parts); !why.empty()) return why;
  const Plan& plan =
      plan_of(stream, shape, parts, [&](Drawing& drawing) { return drawing.forward(parts); });
  if (!plan.declined.empty()) return plan.declined;
  run(stream, plan, parts);
  return {};
}

std::string library_attention_backward(Stream& stream, const Attention& shape, const Tensor& q,
                                       const Tensor& k, const Tensor& v,
                                       const Tensor& document_starts, const Tensor& out,
                                       const Tensor& log_sum_exp, const Tensor& dout,
                                       const AttentionGradients& gradients) {
  Tensor stats = log_sum_exp;
  const std::vector<Part> parts = {{kQ, &q, shape.num_heads, shape.qk_dim},
                                   {kK, &k, shape.num_kv_heads, shape.qk_dim},
                                   {kV, &v, shape.num_kv_heads, shape.v_dim},
                                   {kOut, &out, shape.num_heads, shape.v_dim},
                                   {kStatsByHeads, &stats, shape.num_heads, 1},
                                   {kDOut, &dout, shape.num_heads, shape.v_dim},
                                   {kDq, &gradients.dq, shape.num_heads, shape.qk_dim},
                                   {kDk, &gradients.dk, shape.num_kv_heads, shape.qk_dim},
                                   {kDv, &gradients.dv, shape.num_kv_heads, shape.v_dim}};
  if (std::string why = why_not(shape, document_starts, parts); !why.empty()) return why;
  const Plan& plan =
      plan_of(stream, shape, parts, [&](Drawing& drawing) { return drawing.backward(parts); });
  if (!plan.declined.empty()) return plan.declined;
  stats = by_heads(stream, shape, log_sum_exp);
  run(stream, plan, parts);
  return {};
}

}  // namespace tessera::cuda

extern "C" int64_t tessera_library_attention_calls() {
  const std::lock_guard lock(tessera::cuda::kept().mutex);
  return tessera::cuda::kept().calls;
}
