// SPDX-License-Identifier: Apache-2.0
// A group of one rank: every collective is a copy, or nothing when in and out are the same.
#include <utility>

#include "kernels/copy.h"
#include "parallel/communicator.h"
#include "parallel/transport/collective_arguments.h"

namespace tessera {
namespace {

class Done : public Pending {
 public:
  void wait() override {}
  bool test() override { return true; }
};

class SelfCommunicator : public Communicator {
 public:
  explicit SelfCommunicator(std::string label) : label_(std::move(label)) {}
  int rank() const override { return 0; }
  int size() const override { return 1; }
  const std::string& label() const override { return label_; }
  const char* transport() const override { return "self"; }
  bool is_local() const override { return true; }

  void all_reduce(Stream& stream, const Tensor& in, const Tensor& out, Reduce,
                  const char*) override {
    check_all_reduce(in, out);
    hand_over(stream, in, out);
  }
  std::unique_ptr<Pending> start_reduce_scatter(Stream& stream, const Tensor& in, const Cut& cut,
                                                const Tensor& out, Reduce, const char*) override {
    check_reduce_scatter(in, cut, out, 0, 1);
    hand_over(stream, in, out);
    return std::make_unique<Done>();
  }
  std::unique_ptr<Pending> start_all_gather(Stream& stream, const Tensor& in, const Cut& cut,
                                            const Tensor& out, const char*) override {
    check_all_gather(in, cut, out, 0, 1);
    hand_over(stream, in, out);
    return std::make_unique<Done>();
  }
  void all_to_all(Stream& stream, const Tensor& in, const Cut& in_cut, const Tensor& out,
                  const Cut& out_cut, const char*) override {
    check_all_to_all(in, in_cut, out, out_cut, 0, 1);
    hand_over(stream, in, out);
  }
  void broadcast(Stream&, const Tensor& inout, int, const char*) override {
    check_contiguous("broadcast", inout);
  }
  std::unique_ptr<Pending> start_send(Stream&, const Tensor&, int peer, int, const char*) override {
    fail(ErrorKind::internal, "a group of one cannot send to rank", peer);
  }
  std::unique_ptr<Pending> start_recv(Stream&, const Tensor&, int peer, int, const char*) override {
    fail(ErrorKind::internal, "a group of one cannot receive from rank", peer);
  }
  void barrier(const char*) override {}

 private:
  static void hand_over(Stream& stream, const Tensor& in, const Tensor& out) {
    if (in.size() == 0) return;
    if (in.device().is_host() && !stream.device().is_host()) {
      Stream host(in.device());  // values of the host, whatever the device
      return hand_over(host, in, out);
    }
    if (in.dtype() == out.dtype())
      copy(stream, in.flat(), out.flat());
    else
      cast(stream, in.flat(), out.flat());
  }

  std::string label_;
};

}  // namespace

std::unique_ptr<Communicator> self_communicator(std::string label) {
  return std::make_unique<SelfCommunicator>(std::move(label));
}

}  // namespace tessera
