// SPDX-License-Identifier: Apache-2.0
#include "parallel/transport/dry_run_communicator.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/copy.h"
#include "parallel/transport/collective_arguments.h"

namespace tessera {
namespace {

class Done : public Pending {
 public:
  void wait() override {}
  bool test() override { return true; }
};

// Tensors of the dry device have no bytes to move.
bool has_bytes(const Tensor& x) {
  return !x.empty() && x.device().is_host();
}

void zero(const Bytes& bytes) {
  if (bytes.size > 0) std::memset(bytes.data, 0, static_cast<size_t>(bytes.size));
}

class DryRunCommunicator : public Communicator {
 public:
  DryRunCommunicator(std::vector<int> ranks, int rank, std::string label,
                     std::shared_ptr<DryCalls> calls)
      : ranks_(std::move(ranks)), label_(std::move(label)), calls_(std::move(calls)) {
    const auto mine = std::find(ranks_.begin(), ranks_.end(), rank);
    check(mine != ranks_.end(), "dry run: rank", rank, "is not in the group", label_);
    rank_ = static_cast<int>(mine - ranks_.begin());
  }
  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(ranks_.size()); }
  const std::string& label() const override { return label_; }
  const char* transport() const override { return size() == 1 ? "self" : "dry run"; }
  bool is_local() const override { return size() == 1; }

  void all_reduce(Stream& stream, const Tensor& in, const Tensor& out, Reduce,
                  const char* tag) override {
    check_all_reduce(in, out);
    note("all-reduce", tag, in.bytes(), others());
    if (in.size() > 0) copy(stream, in.flat(), out.flat());
  }
  std::unique_ptr<Pending> start_reduce_scatter(Stream& stream, const Tensor& in, const Cut& cut,
                                                const Tensor& out, Reduce,
                                                const char* tag) override {
    check_reduce_scatter(in, cut, out, rank_, size());
    note("reduce-scatter", tag, in.bytes(), others());
    if (out.size() == 0) return std::make_unique<Done>();
    const int64_t first = cut.part(rank_).first * row_elements(in);
    const Tensor mine = in.flat().column_slice(first, out.size());
    if (in.dtype() == out.dtype())
      copy(stream, mine, out.flat());
    else
      cast(stream, mine, out.flat());
    return std::make_unique<Done>();
  }
  std::unique_ptr<Pending> start_all_gather(Stream&, const Tensor& in, const Cut& cut,
                                            const Tensor& out, const char* tag) override {
    check_all_gather(in, cut, out, rank_, size());
    note("all-gather", tag, out.bytes(), others());
    repeat_mine(bytes_of(in), out, cut);
    return std::make_unique<Done>();
  }
  void all_to_all(Stream&, const Tensor& in, const Cut& in_cut, const Tensor& out,
                  const Cut& out_cut, const char* tag) override {
    check_all_to_all(in, in_cut, out, out_cut, rank_, size());
    note("all-to-all", tag, in.bytes(), others());
    keep_mine(bytes_of(in, in_cut.part(rank_)), out, out_cut);
  }
  void broadcast(Stream&, const Tensor& inout, int root, const char* tag) override {
    check_contiguous("broadcast", inout);
    note("broadcast", tag, inout.bytes(),
         root == rank_ ? others() : std::vector<int>{in_grid(root)});
  }
  std::unique_ptr<Pending> start_send(Stream&, const Tensor& in, int peer, int,
                                      const char* tag) override {
    check_contiguous("send", in);
    note("send", tag, in.bytes(), {in_grid(peer)});
    return std::make_unique<Done>();
  }
  std::unique_ptr<Pending> start_recv(Stream&, const Tensor& out, int peer, int,
                                      const char* tag) override {
    check_contiguous("receive", out);
    note("receive", tag, out.bytes(), {in_grid(peer)});
    if (has_bytes(out)) zero(bytes_of(out));
    return std::make_unique<Done>();
  }
  void barrier(const char* tag) override { note("barrier", tag, 0, others()); }

 private:
  void note(const char* operation, const char* tag, int64_t bytes, std::vector<int> peers) {
    calls_->push_back({label_, operation, tag, bytes, std::move(peers)});
  }
  int in_grid(int rank) const {
    check(rank >= 0 && rank < size(), "dry run: group", label_, "has no rank", rank);
    return ranks_[static_cast<size_t>(rank)];
  }
  std::vector<int> others() const {
    std::vector<int> peers = ranks_;
    peers.erase(peers.begin() + rank_);
    return peers;
  }
  // My part of out is `mine`, which may lie there already; the rest is zeros.
  void keep_mine(const Bytes& mine, const Tensor& out, const Cut& cut) const {
    if (!has_bytes(out)) return;
    for (int peer = 0; peer < size(); ++peer) {
      const Bytes part = bytes_of(out, cut.part(peer));
      if (peer != rank_)
        zero(part);
      else if (part.size > 0 && part.data != mine.data)
        std::memcpy(part.data, mine.data, static_cast<size_t>(part.size));
    }
  }
  // The same in every part of out that has the size of mine.
  void repeat_mine(const Bytes& mine, const Tensor& out, const Cut& cut) const {
    keep_mine(mine, out, cut);
    if (!has_bytes(out)) return;
    for (int peer = 0; peer < size(); ++peer) {
      const Bytes part = bytes_of(out, cut.part(peer));
      if (peer != rank_ && part.size == mine.size && part.size > 0)
        std::memcpy(part.data, bytes_of(out, cut.part(rank_)).data, static_cast<size_t>(part.size));
    }
  }

  std::vector<int> ranks_;  // of the grid
  std::string label_;
  std::shared_ptr<DryCalls> calls_;
  int rank_ = 0;  // in the group
};

}  // namespace

std::unique_ptr<Communicator> dry_run_communicator(std::vector<int> ranks, int rank,
                                                   std::string label,
                                                   std::shared_ptr<DryCalls> calls) {
  return std::make_unique<DryRunCommunicator>(std::move(ranks), rank, std::move(label),
                                              std::move(calls));
}

}  // namespace tessera
