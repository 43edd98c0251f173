// SPDX-License-Identifier: Apache-2.0
// The collectives of one group of ranks. Which axis of the grid the group is, the Communicator does
// not know; a group of one is real (self_communicator.cc), so nobody special-cases "no
// parallelism".
//
// Every floating-point sum over ranks is one fixed pairwise tree over the group's ranks, partial
// sums in f32 (f64 for f64), one rounding at the end: ((r0 + r1) + (r2 + r3)) + (r4) ... The result
// has the same bits on every rank, over every transport (docs/numerics.md).
//
// Called by all ranks of the group, in the same order, from one thread. Tensors must be contiguous,
// of equal whole size on all ranks. A Cut says which rows (dim 0) of a whole tensor are whose; a
// rank without rows passes a tensor of no elements. A failed peer raises
// Error{peer} or ends the job. NCCL's sums have an order of their own, within rounding of this one;
// and as it has no channels, messages from one rank to another are received there in the order of
// sending, as those of plans are (parallel/pipeline/communicate.h).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/base/stream.h"
#include "kernels/base/tensor.h"
#include "parallel/shard.h"

namespace tessera {

enum class Reduce { sum, max, min };

// A started collective. wait() completes it and is called exactly once before its output is read;
// test() progresses it without blocking.
class Pending {
 public:
  virtual ~Pending() = default;
  virtual void wait() = 0;
  virtual bool test() = 0;
};

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;  // mine, within the group
  virtual int size() const = 0;
  virtual const std::string& label() const = 0;  // "data", "tensor", ... for messages only
  virtual const char* transport() const = 0;     // "self", "mpi", ...; for messages only
  // True when this rank needs nobody for it: each collective is a copy in the stream, without a
  // peer and without the host. Such a group needs no staging and may be recorded
  // (kernels/base/graph.h).
  virtual bool is_local() const { return false; }

  // out = reduction of `in` over ranks. out may be in. `tag` says in messages what is reduced.
  virtual void all_reduce(Stream& stream, const Tensor& in, const Tensor& out, Reduce op,
                          const char* tag = "") = 0;
  // out = the reduction of part rank() of `in`, which it may be. out may be of
  // accumulation_type(in) (no final rounding).
  virtual std::unique_ptr<Pending> start_reduce_scatter(Stream& stream, const Tensor& in,
                                                        const Cut& cut, const Tensor& out,
                                                        Reduce op, const char* tag = "") = 0;
  // out = the parts of all ranks, one after another. `in` may be part rank() of out.
  virtual std::unique_ptr<Pending> start_all_gather(Stream& stream, const Tensor& in,
                                                    const Cut& cut, const Tensor& out,
                                                    const char* tag = "") = 0;
  // Part p of out from rank p = part rank() of its `in`, of as many rows. out may not be in.
  virtual void all_to_all(Stream& stream, const Tensor& in, const Cut& in_cut, const Tensor& out,
                          const Cut& out_cut, const char* tag = "") = 0;
  virtual void broadcast(Stream& stream, const Tensor& inout, int root, const char* tag = "") = 0;
  virtual std::unique_ptr<Pending> start_send(Stream& stream, const Tensor& in, int peer,
                                              int channel, const char* tag = "") = 0;
  virtual std::unique_ptr<Pending> start_recv(Stream& stream, const Tensor& out, int peer,
                                              int channel, const char* tag = "") = 0;
  virtual void barrier(const char* tag = "") = 0;

  // Conveniences built on the above.
  void reduce_scatter(Stream& stream, const Tensor& in, const Cut& cut, const Tensor& out,
                      Reduce op, const char* tag = "") {
    start_reduce_scatter(stream, in, cut, out, op, tag)->wait();
  }
  void all_gather(Stream& stream, const Tensor& in, const Cut& cut, const Tensor& out,
                  const char* tag = "") {
    start_all_gather(stream, in, cut, out, tag)->wait();
  }
  // Host values (setup, decisions, checkpoints): sums of integers are exact.
  int64_t all_reduce(int64_t value, Reduce op, const char* tag = "");
  std::string broadcast(const std::string& text, int root, const char* tag = "");
  // Every rank's text, in rank order, on every rank.
  std::vector<std::string> all_gather(const std::string& text, const char* tag = "");
  // True when it is true on every rank: agree first, then fail together.
  bool agree(bool local, const char* tag = "") { return all_reduce(local, Reduce::min, tag) != 0; }
};

std::unique_ptr<Communicator> self_communicator(std::string label);

}  // namespace tessera
