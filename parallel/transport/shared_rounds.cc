// SPDX-License-Identifier: Apache-2.0
#include "parallel/transport/shared_rounds.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>
#include <vector>

#include "parallel/transport/collective_arguments.h"
#include "parallel/transport/reduction_tree.h"

namespace tessera {
namespace {

enum Operation { kBarrier = 1, kAllReduce, kReduceScatter, kAllGather, kAllToAll, kBroadcast };

constexpr int64_t kLineBytes = 64;

int64_t in_lines(int64_t bytes) {
  return (bytes + kLineBytes - 1) / kLineBytes * kLineBytes;
}

int64_t steps_for(int64_t bytes, int64_t room) {
  return std::max<int64_t>(1, (bytes + room - 1) / room);
}

void copy_bytes(const std::byte* from, std::byte* to, int64_t bytes) {
  if (bytes > 0 && from != to) std::memcpy(to, from, static_cast<size_t>(bytes));
}

// A tensor dealt to ranks, as bytes, and a chunk of every part for each step. Chunks of a step lie
// one after another on a stage, each from a cache line on.
class Chunks {
 public:
  // As many steps as it takes for the chunks of all parts to fit on a stage together.
  static Chunks together(const SharedBoard& board, const Tensor& whole, const Cut& cut) {
    const int64_t slack = board.size() * (kLineBytes + size_of(whole.dtype()));
    return Chunks(whole, cut, steps_for(whole.bytes(), board.stage_bytes() - slack));
  }
  // As many as it takes for the chunk of the largest part to fit.
  static Chunks apart(const SharedBoard& board, const Tensor& whole, const Cut& cut) {
    int64_t largest = 0;
    for (int64_t rank = 0; rank < cut.ranks(); ++rank)
      largest = std::max(largest, bytes_of(whole, cut.part(rank)).size);
    return Chunks(whole, cut, steps_for(largest, board.stage_bytes() - size_of(whole.dtype())));
  }

  int64_t steps() const { return steps_; }
  // Where in rank's part, in bytes.
  Interval chunk(int rank, int64_t step) const {
    const int64_t part = parts_[static_cast<size_t>(rank)].size / element_;
    const Interval elements = even_part(part, step, steps_);
    return {elements.first * element_, elements.extent * element_};
  }
  // Where in the whole.
  std::byte* at(int rank, int64_t step) const {
    return parts_[static_cast<size_t>(rank)].data + chunk(rank, step).first;
  }
  int64_t on_stage(int rank, int64_t step) const {
    int64_t offset = 0;
    for (int before = 0; before < rank; ++before) offset += in_lines(chunk(before, step).extent);
    return offset;
  }

 private:
  Chunks(const Tensor& whole, const Cut& cut, int64_t steps)
      : steps_(steps), element_(size_of(whole.dtype())) {
    for (int64_t rank = 0; rank < cut.ranks(); ++rank)
      parts_.push_back(bytes_of(whole, cut.part(rank)));
  }
  int64_t steps_, element_;
  std::vector<Bytes> parts_;
};

// What reductions share: everybody's chunks on the stages, mine added in the tree.
class ReducingRounds : public Rounds {
 public:
  ReducingRounds(const SharedBoard& board, const Tensor& in, const Cut& cut, Reduce op)
      : board_(board), in_(in), chunks_(Chunks::together(board, in, cut)), op_(op) {}

 protected:
  void stage_chunks(int64_t round, int64_t step) {
    for (int rank = 0; rank < board_.size(); ++rank)
      if (rank != board_.rank())
        copy_bytes(chunks_.at(rank, step),
                   board_.stage(board_.rank(), round) + chunks_.on_stage(rank, step),
                   chunks_.chunk(rank, step).extent);
  }
  void reduce_chunk(int64_t round, int64_t step, std::byte* out, DType out_dtype) {
    const int me = board_.rank();
    const int64_t offset = chunks_.on_stage(me, step);
    parts_.clear();
    for (int rank = 0; rank < board_.size(); ++rank)
      parts_.push_back(rank == me ? chunks_.at(me, step) : board_.stage(rank, round) + offset);
    const int64_t elements = chunks_.chunk(me, step).extent / size_of(in_.dtype());
    if (elements > 0) reduce_tree(parts_, in_.dtype(), out, out_dtype, elements, op_);
  }

  const SharedBoard& board_;
  Tensor in_;
  Chunks chunks_;
  Reduce op_;
  std::vector<const void*> parts_;
};

class ReduceScatterRounds : public ReducingRounds {
 public:
  ReduceScatterRounds(const SharedBoard& board, const Tensor& in, const Cut& cut, const Tensor& out,
                      Reduce op)
      : ReducingRounds(board, in, cut, op), out_(out) {}
  void stage(int64_t round, int64_t step) override { stage_chunks(round, step); }
  void take(int64_t round, int64_t step) override {
    const int64_t first =
        chunks_.chunk(board_.rank(), step).first / size_of(in_.dtype()) * size_of(out_.dtype());
    if (out_.size() > 0) reduce_chunk(round, step, bytes_of(out_).data + first, out_.dtype());
  }
  int64_t num_steps() const override { return chunks_.steps(); }
  Announcement announcement() const override { return {kReduceScatter, in_.bytes()}; }

 private:
  Tensor out_;
};

// Reduces a piece and, one round later, gathers it.
class LargeAllReduceRounds : public ReducingRounds {
 public:
  LargeAllReduceRounds(const SharedBoard& board, const Tensor& in, const Tensor& out, Reduce op)
      : ReducingRounds(board, in, Cut::even(in.size(), board.size()), op),
        out_(out),
        gathered_(Chunks::together(board, out, Cut::even(in.size(), board.size()))) {}
  void stage(int64_t round, int64_t step) override {
    if (step < chunks_.steps()) stage_chunks(round, step);
  }
  void take(int64_t round, int64_t step) override {
    if (step > 0) gather(round - 1, step - 1);
    if (step == chunks_.steps()) return;
    const int me = board_.rank();
    std::byte* mine = board_.result(me, round);
    reduce_chunk(round, step, mine, in_.dtype());
    copy_bytes(mine, gathered_.at(me, step), gathered_.chunk(me, step).extent);
  }
  int64_t num_steps() const override { return chunks_.steps() + 1; }
  Announcement announcement() const override { return {kAllReduce, in_.bytes()}; }

 private:
  void gather(int64_t round, int64_t step) {
    for (int rank = 0; rank < board_.size(); ++rank)
      if (rank != board_.rank())
        copy_bytes(board_.result(rank, round), gathered_.at(rank, step),
                   gathered_.chunk(rank, step).extent);
  }
  Tensor out_;
  Chunks gathered_;
};

// One round: every rank adds everything.
class SmallAllReduceRounds : public Rounds {
 public:
  SmallAllReduceRounds(const SharedBoard& board, const Tensor& in, const Tensor& out, Reduce op)
      : board_(board), in_(in), out_(out), op_(op) {}
  void stage(int64_t round, int64_t) override {
    copy_bytes(bytes_of(in_).data, board_.stage(board_.rank(), round), in_.bytes());
  }
  void take(int64_t round, int64_t) override {
    std::vector<const void*> parts;
    for (int rank = 0; rank < board_.size(); ++rank) parts.push_back(board_.stage(rank, round));
    if (in_.size() > 0)
      reduce_tree(parts, in_.dtype(), out_.data(), out_.dtype(), out_.size(), op_);
  }
  int64_t num_steps() const override { return 1; }
  Announcement announcement() const override { return {kAllReduce, in_.bytes()}; }

 private:
  const SharedBoard& board_;
  Tensor in_, out_;
  Reduce op_;
};

class AllGatherRounds : public Rounds {
 public:
  AllGatherRounds(const SharedBoard& board, const Tensor& in, const Cut& cut, const Tensor& out)
      : board_(board), in_(in), out_(out), chunks_(Chunks::apart(board, out, cut)) {
    const Bytes mine = bytes_of(out, cut.part(board.rank()));
    copy_bytes(bytes_of(in).data, mine.data, mine.size);
  }
  void stage(int64_t round, int64_t step) override {
    const Interval mine = chunks_.chunk(board_.rank(), step);
    copy_bytes(bytes_of(in_).data + mine.first, board_.stage(board_.rank(), round), mine.extent);
  }
  void take(int64_t round, int64_t step) override {
    for (int rank = 0; rank < board_.size(); ++rank)
      if (rank != board_.rank())
        copy_bytes(board_.stage(rank, round), chunks_.at(rank, step),
                   chunks_.chunk(rank, step).extent);
  }
  int64_t num_steps() const override { return chunks_.steps(); }
  Announcement announcement() const override { return {kAllGather, out_.bytes()}; }

 private:
  const SharedBoard& board_;
  Tensor in_, out_;
  Chunks chunks_;
};

// The first round tells how many bytes go where: only then is it known how many rounds follow.
class AllToAllRounds : public Rounds {
 public:
  AllToAllRounds(const SharedBoard& board, const Tensor& in, const Cut& in_cut, const Tensor& out,
                 const Cut& out_cut)
      : board_(board), in_(in), out_(out) {
    for (int rank = 0; rank < board.size(); ++rank) {
      sent_.push_back(bytes_of(in, in_cut.part(rank)));
      received_.push_back(bytes_of(out, out_cut.part(rank)));
    }
  }
  void stage(int64_t round, int64_t step) override {
    std::byte* mine = board_.stage(board_.rank(), round);
    if (step == 0) {
      auto* sizes = reinterpret_cast<int64_t*>(mine);
      for (const Bytes& part : sent_) *sizes++ = part.size;
      for (const Bytes& part : received_) *sizes++ = part.size;
      return;
    }
    int64_t offset = 0;
    for (const Bytes& part : sent_) {
      const Interval chunk = even_part(part.size, step - 1, steps_ - 1);
      copy_bytes(part.data + chunk.first, mine + offset, chunk.extent);
      offset += in_lines(chunk.extent);
    }
  }
  void take(int64_t round, int64_t step) override {
    if (step == 0) return read_sizes(round);
    for (int from = 0; from < board_.size(); ++from) {
      const Bytes& part = received_[static_cast<size_t>(from)];
      const Interval chunk = even_part(part.size, step - 1, steps_ - 1);
      copy_bytes(board_.stage(from, round) + offset_on(from, step), part.data + chunk.first,
                 chunk.extent);
    }
  }
  int64_t num_steps() const override { return steps_; }
  Announcement announcement() const override { return {kAllToAll, 0}; }

 private:
  // All ranks look at all sizes, so that a mistake of one is an error on all.
  void read_sizes(int64_t round) {
    const auto n = static_cast<size_t>(board_.size());
    const auto sizes_of = [&](size_t rank) {
      return reinterpret_cast<const int64_t*>(board_.stage(static_cast<int>(rank), round));
    };
    const int64_t room = board_.stage_bytes() - board_.size() * (kLineBytes + 1);
    steps_ = 1;
    for (size_t from = 0; from < n; ++from) {
      const int64_t* sizes = sizes_of(from);
      sizes_.emplace_back(sizes, sizes + n);
      const int64_t total = std::accumulate(sizes, sizes + n, int64_t{0});
      if (total > 0) steps_ = std::max(steps_, 1 + steps_for(total, room));
      for (size_t to = 0; to < n; ++to)
        check(sizes[to] == sizes_of(to)[n + from], "all_to_all: rank", from, "sends", sizes[to],
              "bytes to rank", std::to_string(to) + ", which expects", sizes_of(to)[n + from]);
    }
  }
  // Of the chunk for me on the stage of rank `from`.
  int64_t offset_on(int from, int64_t step) const {
    const std::vector<int64_t>& sizes = sizes_[static_cast<size_t>(from)];
    int64_t offset = 0;
    for (int before = 0; before < board_.rank(); ++before)
      offset +=
          in_lines(even_part(sizes[static_cast<size_t>(before)], step - 1, steps_ - 1).extent);
    return offset;
  }

  const SharedBoard& board_;
  Tensor in_, out_;
  std::vector<Bytes> sent_, received_;
  std::vector<std::vector<int64_t>> sizes_;  // sizes_[from][to]
  int64_t steps_ = 2;                        // until the sizes are known
};

class BroadcastRounds : public Rounds {
 public:
  BroadcastRounds(const SharedBoard& board, const Tensor& inout, int root)
      : board_(board), inout_(inout), root_(root) {}
  void stage(int64_t round, int64_t step) override {
    const Interval piece = at(step);
    if (board_.rank() == root_)
      copy_bytes(bytes_of(inout_).data + piece.first, board_.stage(root_, round), piece.extent);
  }
  void take(int64_t round, int64_t step) override {
    const Interval piece = at(step);
    if (board_.rank() != root_)
      copy_bytes(board_.stage(root_, round), bytes_of(inout_).data + piece.first, piece.extent);
  }
  int64_t num_steps() const override { return steps_for(inout_.bytes(), board_.stage_bytes()); }
  Announcement announcement() const override { return {kBroadcast, inout_.bytes()}; }

 private:
  Interval at(int64_t step) const { return even_part(inout_.bytes(), step, num_steps()); }
  const SharedBoard& board_;
  Tensor inout_;
  int root_;
};

class BarrierRounds : public Rounds {
 public:
  void stage(int64_t, int64_t) override {}
  void take(int64_t, int64_t) override {}
  int64_t num_steps() const override { return 1; }
  Announcement announcement() const override { return {kBarrier, 0}; }
};

// Below this, one round of everything costs less than two rounds of parts.
constexpr int64_t kSmall = 16384;

}  // namespace

std::shared_ptr<Rounds> all_reduce_rounds(const SharedBoard& board, const Tensor& in,
                                          const Tensor& out, Reduce op) {
  if (in.bytes() <= kSmall) return std::make_shared<SmallAllReduceRounds>(board, in, out, op);
  return std::make_shared<LargeAllReduceRounds>(board, in.reshaped({in.size()}),
                                                out.reshaped({out.size()}), op);
}

std::shared_ptr<Rounds> reduce_scatter_rounds(const SharedBoard& board, const Tensor& in,
                                              const Cut& cut, const Tensor& out, Reduce op) {
  return std::make_shared<ReduceScatterRounds>(board, in, cut, out, op);
}

std::shared_ptr<Rounds> all_gather_rounds(const SharedBoard& board, const Tensor& in,
                                          const Cut& cut, const Tensor& out) {
  return std::make_shared<AllGatherRounds>(board, in, cut, out);
}

std::shared_ptr<Rounds> all_to_all_rounds(const SharedBoard& board, const Tensor& in,
                                          const Cut& in_cut, const Tensor& out,
                                          const Cut& out_cut) {
  return std::make_shared<AllToAllRounds>(board, in, in_cut, out, out_cut);
}

std::shared_ptr<Rounds> broadcast_rounds(const SharedBoard& board, const Tensor& inout, int root) {
  return std::make_shared<BroadcastRounds>(board, inout, root);
}

std::shared_ptr<Rounds> barrier_rounds() {
  return std::make_shared<BarrierRounds>();
}

}  // namespace tessera
