// SPDX-License-Identifier: Apache-2.0
#include "parallel/transport/host_staging.h"

#include <utility>

#include "kernels/transfer.h"

namespace tessera {
namespace {

// Of no device: whatever the host's Communicator copies, it copies at once.
Stream& host_stream() {
  thread_local Stream stream{Device{}};
  return stream;
}

// Where a result arrives: out itself when it is the host's.
Tensor landing(Stream& stream, const Tensor& out) {
  return out.empty() || out.device().is_host() ? out : staging_like(stream, out);
}

void deliver(Stream& stream, const Tensor& landed, const Tensor& out) {
  if (!out.empty() && !out.device().is_host()) hand_over(stream, landed, out);
}

// Keeps what is on its way, and delivers what arrived.
class Staged : public Pending {
 public:
  Staged(std::unique_ptr<Pending> over, Stream& stream, Tensor sent, Tensor landed, Tensor out)
      : over_(std::move(over)),
        stream_(stream),
        sent_(std::move(sent)),
        landed_(std::move(landed)),
        out_(std::move(out)) {}
  void wait() override {
    over_->wait();
    deliver(stream_, landed_, out_);
  }
  bool test() override { return over_->test(); }

 private:
  std::unique_ptr<Pending> over_;
  Stream& stream_;
  Tensor sent_, landed_, out_;
};

class HostStaging : public Communicator {
 public:
  explicit HostStaging(Communicator& over)
      : over_(over), transport_(std::string("host staging over ") + over.transport()) {}
  int rank() const override { return over_.rank(); }
  int size() const override { return over_.size(); }
  const std::string& label() const override { return over_.label(); }
  const char* transport() const override { return transport_.c_str(); }

  void all_reduce(Stream& stream, const Tensor& in, const Tensor& out, Reduce op,
                  const char* tag) override {
    const Tensor landed = landing(stream, out);
    over_.all_reduce(host_stream(), sent(stream, in), landed, op, tag);
    deliver(stream, landed, out);
  }
  std::unique_ptr<Pending> start_reduce_scatter(Stream& stream, const Tensor& in, const Cut& cut,
                                                const Tensor& out, Reduce op,
                                                const char* tag) override {
    const Tensor from = sent(stream, in), landed = landing(stream, out);
    return staged(over_.start_reduce_scatter(host_stream(), from, cut, landed, op, tag), stream,
                  from, landed, out);
  }
  std::unique_ptr<Pending> start_all_gather(Stream& stream, const Tensor& in, const Cut& cut,
                                            const Tensor& out, const char* tag) override {
    const Tensor from = sent(stream, in), landed = landing(stream, out);
    return staged(over_.start_all_gather(host_stream(), from, cut, landed, tag), stream, from,
                  landed, out);
  }
  void all_to_all(Stream& stream, const Tensor& in, const Cut& in_cut, const Tensor& out,
                  const Cut& out_cut, const char* tag) override {
    const Tensor landed = landing(stream, out);
    over_.all_to_all(host_stream(), sent(stream, in), in_cut, landed, out_cut, tag);
    deliver(stream, landed, out);
  }
  void broadcast(Stream& stream, const Tensor& inout, int root, const char* tag) override {
    const bool speaks = root == rank();
    const Tensor host = speaks ? sent(stream, inout) : landing(stream, inout);
    over_.broadcast(host_stream(), host, root, tag);
    if (!speaks) deliver(stream, host, inout);
  }
  std::unique_ptr<Pending> start_send(Stream& stream, const Tensor& in, int peer, int channel,
                                      const char* tag) override {
    const Tensor from = sent(stream, in);
    return staged(over_.start_send(host_stream(), from, peer, channel, tag), stream, from, {}, {});
  }
  std::unique_ptr<Pending> start_recv(Stream& stream, const Tensor& out, int peer, int channel,
                                      const char* tag) override {
    const Tensor landed = landing(stream, out);
    return staged(over_.start_recv(host_stream(), landed, peer, channel, tag), stream, {}, landed,
                  out);
  }
  void barrier(const char* tag) override { over_.barrier(tag); }

 private:
  static Tensor sent(Stream& stream, const Tensor& in) {
    return in.empty() ? in : on_host(stream, in);
  }
  static std::unique_ptr<Pending> staged(std::unique_ptr<Pending> over, Stream& stream, Tensor from,
                                         Tensor landed, Tensor out) {
    return std::make_unique<Staged>(std::move(over), stream, std::move(from), std::move(landed),
                                    std::move(out));
  }

  Communicator& over_;
  std::string transport_;
};

}  // namespace

std::unique_ptr<Communicator> host_staging_communicator(Communicator& over) {
  return std::make_unique<HostStaging>(over);
}

// A group of one copies on the device itself.
void stage_through_host(Communicators& comms) {
  comms.replace([](Communicator& group) -> std::unique_ptr<Communicator> {
    if (group.is_local()) return nullptr;
    return host_staging_communicator(group);
  });
}

}  // namespace tessera
