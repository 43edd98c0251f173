// SPDX-License-Identifier: Apache-2.0
#include "tests/support/recording_communicator.h"

#include <string>
#include <utility>

namespace tessera::test {
namespace {

class Recording : public Communicator {
 public:
  Recording(Communicator& inner, int rank, std::shared_ptr<DryCalls> calls)
      : inner_(inner), calls_(std::move(calls)) {
    for (const std::string& member : inner.all_gather(std::to_string(rank), "members"))
      ranks_.push_back(std::stoi(member));
  }
  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  const std::string& label() const override { return inner_.label(); }
  const char* transport() const override { return inner_.transport(); }
  bool is_local() const override { return inner_.is_local(); }

  void all_reduce(Stream& stream, const Tensor& in, const Tensor& out, Reduce op,
                  const char* tag) override {
    note("all-reduce", tag, in, others());
    inner_.all_reduce(stream, in, out, op, tag);
  }
  std::unique_ptr<Pending> start_reduce_scatter(Stream& stream, const Tensor& in, const Cut& cut,
                                                const Tensor& out, Reduce op,
                                                const char* tag) override {
    note("reduce-scatter", tag, in, others());
    return inner_.start_reduce_scatter(stream, in, cut, out, op, tag);
  }
  std::unique_ptr<Pending> start_all_gather(Stream& stream, const Tensor& in, const Cut& cut,
                                            const Tensor& out, const char* tag) override {
    note("all-gather", tag, out, others());
    return inner_.start_all_gather(stream, in, cut, out, tag);
  }
  void all_to_all(Stream& stream, const Tensor& in, const Cut& in_cut, const Tensor& out,
                  const Cut& out_cut, const char* tag) override {
    note("all-to-all", tag, in, others());
    inner_.all_to_all(stream, in, in_cut, out, out_cut, tag);
  }
  void broadcast(Stream& stream, const Tensor& inout, int root, const char* tag) override {
    note("broadcast", tag, inout, root == rank() ? others() : std::vector<int>{member(root)});
    inner_.broadcast(stream, inout, root, tag);
  }
  std::unique_ptr<Pending> start_send(Stream& stream, const Tensor& in, int peer, int channel,
                                      const char* tag) override {
    note("send", tag, in, {member(peer)});
    return inner_.start_send(stream, in, peer, channel, tag);
  }
  std::unique_ptr<Pending> start_recv(Stream& stream, const Tensor& out, int peer, int channel,
                                      const char* tag) override {
    note("receive", tag, out, {member(peer)});
    return inner_.start_recv(stream, out, peer, channel, tag);
  }
  void barrier(const char* tag) override {
    note("barrier", tag, {}, others());
    inner_.barrier(tag);
  }

 private:
  void note(const char* operation, const char* tag, const Tensor& x, std::vector<int> peers) {
    calls_->push_back({label(), operation, tag, x.bytes(), std::move(peers)});
  }
  int member(int rank) const { return ranks_.at(static_cast<size_t>(rank)); }
  std::vector<int> others() const {
    std::vector<int> peers = ranks_;
    peers.erase(peers.begin() + rank());
    return peers;
  }

  Communicator& inner_;
  std::shared_ptr<DryCalls> calls_;
  std::vector<int> ranks_;  // of the grid
};

}  // namespace

std::unique_ptr<Communicator> recording(Communicator& inner, int rank,
                                        std::shared_ptr<DryCalls> calls) {
  return std::make_unique<Recording>(inner, rank, std::move(calls));
}

}  // namespace tessera::test
