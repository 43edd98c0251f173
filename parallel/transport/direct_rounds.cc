// SPDX-License-Identifier: Apache-2.0
#include "parallel/transport/direct_rounds.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "kernels/cpu_path.h"
#include "parallel/transport/collective_arguments.h"
#include "parallel/transport/peer_memory.h"
#include "parallel/transport/reduction_tree.h"

namespace tessera {
namespace {

// Mapped at a time, of each peer: little beside a model, and many pages a system call.
constexpr int64_t kWindow = int64_t{8} << 20;
// Reduced at a time: it is still in the cache when it is written to the peers.
constexpr int64_t kBlock = int64_t{64} << 10;

int64_t num_pieces(int64_t bytes, int64_t piece) {
  return (bytes + piece - 1) / piece;
}

// Round 0: where everybody's tensors lie. Then either the work, done by each rank when it has seen
// the places, and a last round that says it is over; or the staged rounds.
class DirectRounds : public Rounds {
 public:
  DirectRounds(const SharedBoard& board, const Tensor& read, const Tensor& written,
               std::shared_ptr<Rounds> staged)
      : board_(board), mine_{place_of(read), place_of(written)}, staged_(std::move(staged)) {}

  void stage(int64_t round, int64_t step) final {
    if (step == 0)
      places_of(board_.rank(), round) = mine_;
    else if (!direct_)
      staged_->stage(round, step - 1);
  }
  void take(int64_t round, int64_t step) final {
    if (step > 0) {
      if (!direct_) staged_->take(round, step - 1);
      return;
    }
    for (int rank = 0; rank < board_.size(); ++rank) {
      const Places& places = places_of(rank, round);
      direct_ &= std::none_of(places.begin(), places.end(), [](const MemoryPlace& place) {
        return place.kind == MemoryPlace::Kind::unshared;
      });
      places_.push_back(places);
    }
    if (direct_) work();
  }
  int64_t num_steps() const final { return direct_ ? 2 : 1 + staged_->num_steps(); }
  Announcement announcement() const final { return staged_->announcement(); }

 protected:
  enum Role { kRead, kWritten };
  virtual void work() = 0;
  const MemoryPlace& place(int rank, Role role) const {
    return places_[static_cast<size_t>(rank)][role];
  }
  // One view a rank, of what it announced; mine stays empty.
  std::vector<PeerMemory> views(Role role) const {
    std::vector<PeerMemory> all;
    for (int rank = 0; rank < board_.size(); ++rank)
      all.emplace_back(rank == board_.rank() ? MemoryPlace{} : place(rank, role));
    return all;
  }

  const SharedBoard& board_;

 private:
  using Places = std::array<MemoryPlace, 2>;  // by Role
  Places& places_of(int rank, int64_t round) const {
    return *reinterpret_cast<Places*>(board_.stage(rank, round));
  }
  Places mine_;
  std::shared_ptr<Rounds> staged_;
  bool direct_ = true;  // until the places are known
  std::vector<Places> places_;
};

// My part of everybody's tensor, reduced block by block; publish() hears of each.
class DirectReduction : public DirectRounds {
 public:
  DirectReduction(const SharedBoard& board, const Tensor& in, const Tensor& written, Bytes mine,
                  int64_t first, std::byte* out, DType out_dtype, Reduce op,
                  std::shared_ptr<Rounds> staged)
      : DirectRounds(board, in, written, std::move(staged)),
        in_(in),
        mine_(mine),
        first_(first),
        out_(out),
        out_dtype_(out_dtype),
        op_(op) {}

 protected:
  void work() override {
    std::vector<PeerMemory> peers = views(kRead);
    for (int64_t window = 0; window < mine_.size; window += kWindow)
      reduce_window(peers, window, std::min(kWindow, mine_.size - window));
  }
  virtual void open_window(const std::vector<std::byte*>& /*read*/, int64_t /*first*/,
                           int64_t /*count*/) {}
  // Bytes `first` .. of my part are reduced, offset `within` the window. From any thread.
  virtual void publish(int64_t /*first*/, int64_t /*within*/, int64_t /*count*/) {}
  int64_t first() const { return first_; }
  const std::byte* result(int64_t first) const {
    return out_ + first / size_of(in_.dtype()) * size_of(out_dtype_);
  }

 private:
  void reduce_window(std::vector<PeerMemory>& peers, int64_t window, int64_t count) {
    std::vector<std::byte*> parts;
    for (int rank = 0; rank < board_.size(); ++rank)
      parts.push_back(rank == board_.rank()
                          ? mine_.data + window
                          : peers[static_cast<size_t>(rank)].window(first_ + window, count));
    open_window(parts, window, count);
    const int64_t blocks = num_pieces(count, kBlock), element = size_of(in_.dtype());
#pragma omp parallel for if (blocks > 1) num_threads(cpu_threads())
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t within = block * kBlock, size = std::min(kBlock, count - within);
      std::vector<const void*> inputs;
      for (const std::byte* part : parts) inputs.push_back(part + within);
      std::byte* out = out_ + (window + within) / element * size_of(out_dtype_);
      reduce_tree(inputs, in_.dtype(), out, out_dtype_, size / element, op_);
      publish(window + within, within, size);
    }
  }

  Tensor in_;
  Bytes mine_;     // my part of my tensor
  int64_t first_;  // where it begins, in bytes
  std::byte* out_;
  DType out_dtype_;
  Reduce op_;
};

class DirectReduceScatter : public DirectReduction {
 public:
  DirectReduceScatter(const SharedBoard& board, const Tensor& in, const Cut& cut, const Tensor& out,
                      Reduce op)
      : DirectReduction(board, in, {}, bytes_of(in, cut.part(board.rank())),
                        cut.part(board.rank()).first * row_elements(in) * size_of(in.dtype()),
                        bytes_of(out).data, out.empty() ? in.dtype() : out.dtype(), op,
                        reduce_scatter_rounds(board, in, cut, out, op)),
        out_(out) {}

 private:
  Tensor out_;  // kept alive
};

// What I reduced goes to everybody's tensor, where nobody else has business with it.
class DirectAllReduce : public DirectReduction {
 public:
  DirectAllReduce(const SharedBoard& board, const Tensor& in, const Tensor& out, Reduce op)
      : DirectAllReduce(board, in, out, Cut::even(in.size(), board.size()).part(board.rank()), op) {
  }

 private:
  DirectAllReduce(const SharedBoard& board, const Tensor& in, const Tensor& out,
                  const Interval& part, Reduce op)
      : DirectReduction(board, in, out, bytes_of(in, part), part.first * size_of(in.dtype()),
                        bytes_of(out, part).data, out.dtype(), op,
                        all_reduce_rounds(board, in, out, op)),
        out_(out) {}
  void work() override {
    written_ = views(kWritten);
    DirectReduction::work();
    written_.clear();
  }
  void open_window(const std::vector<std::byte*>& read, int64_t window, int64_t count) override {
    targets_.clear();
    for (int rank = 0; rank < board_.size(); ++rank) {
      if (rank == board_.rank()) continue;
      const auto peer = static_cast<size_t>(rank);
      targets_.push_back(place(rank, kRead) == place(rank, kWritten)
                             ? read[peer]
                             : written_[peer].window(first() + window, count));
    }
  }
  void publish(int64_t position, int64_t within, int64_t count) override {
    for (std::byte* target : targets_)
      std::memcpy(target + within, result(position), static_cast<size_t>(count));
  }

  Tensor out_;
  std::vector<PeerMemory> written_;
  std::vector<std::byte*> targets_;  // of the window
};

class DirectAllGather : public DirectRounds {
 public:
  DirectAllGather(const SharedBoard& board, const Tensor& in, const Cut& cut, const Tensor& out)
      : DirectRounds(board, in, {}, all_gather_rounds(board, in, cut, out)), cut_(cut), out_(out) {}

 private:
  void work() override {
    std::vector<PeerMemory> peers = views(kRead);
    for (int rank = 0; rank < board_.size(); ++rank) {
      if (rank == board_.rank()) continue;  // the staged rounds have put mine in its place
      const Bytes part = bytes_of(out_, cut_.part(rank));
      for (int64_t first = 0; first < part.size; first += kWindow) {
        const int64_t count = std::min(kWindow, part.size - first);
        copy(peers[static_cast<size_t>(rank)].window(first, count), part.data + first, count);
      }
    }
  }
  static void copy(const std::byte* from, std::byte* to, int64_t count) {
    const int64_t blocks = num_pieces(count, kBlock);
#pragma omp parallel for if (blocks > 1) num_threads(cpu_threads())
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t first = block * kBlock;
      std::memcpy(to + first, from + first, static_cast<size_t>(std::min(kBlock, count - first)));
    }
  }
  Cut cut_;
  Tensor out_;
};

}  // namespace

std::shared_ptr<Rounds> direct_all_reduce(const SharedBoard& board, const Tensor& in,
                                          const Tensor& out, Reduce op) {
  return std::make_shared<DirectAllReduce>(board, in.reshaped({in.size()}),
                                           out.reshaped({out.size()}), op);
}

std::shared_ptr<Rounds> direct_reduce_scatter(const SharedBoard& board, const Tensor& in,
                                              const Cut& cut, const Tensor& out, Reduce op) {
  return std::make_shared<DirectReduceScatter>(board, in, cut, out, op);
}

std::shared_ptr<Rounds> direct_all_gather(const SharedBoard& board, const Tensor& in,
                                          const Cut& cut, const Tensor& out) {
  return std::make_shared<DirectAllGather>(board, in, cut, out);
}

}  // namespace tessera
