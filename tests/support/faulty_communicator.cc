// SPDX-License-Identifier: Apache-2.0
#include "tests/support/faulty_communicator.h"

namespace tessera::test {
namespace {

struct Done : Pending {
  void wait() override {}
  bool test() override { return true; }
};

class Faulty : public Communicator {
 public:
  Faulty(Communicator& inner, const Plant& plant) : inner_(inner), plant_(plant) {}
  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  const std::string& label() const override { return inner_.label(); }
  const char* transport() const override { return "faulty"; }

  void all_reduce(Stream& stream, const Tensor& in, const Tensor& out, Reduce op,
                  const char* tag) override {
    if (plant_.all_reduce && plant_.tag == tag)
      plant_.all_reduce(inner_, stream, in, out);
    else
      inner_.all_reduce(stream, in, out, op, tag);
  }
  std::unique_ptr<Pending> start_reduce_scatter(Stream& stream, const Tensor& in, const Cut& cut,
                                                const Tensor& out, Reduce op,
                                                const char* tag) override {
    if (!plant_.reduce_scatter || plant_.tag != tag)
      return inner_.start_reduce_scatter(stream, in, cut, out, op, tag);
    plant_.reduce_scatter(inner_, stream, in, cut, out);
    return std::make_unique<Done>();
  }
  std::unique_ptr<Pending> start_all_gather(Stream& stream, const Tensor& in, const Cut& cut,
                                            const Tensor& out, const char* tag) override {
    if (!plant_.all_gather || plant_.tag != tag)
      return inner_.start_all_gather(stream, in, cut, out, tag);
    plant_.all_gather(inner_, stream, in, cut, out);
    return std::make_unique<Done>();
  }
  void all_to_all(Stream& stream, const Tensor& in, const Cut& in_cut, const Tensor& out,
                  const Cut& out_cut, const char* tag) override {
    if (plant_.all_to_all && plant_.tag == tag)
      plant_.all_to_all(inner_, stream, in, in_cut, out, out_cut);
    else
      inner_.all_to_all(stream, in, in_cut, out, out_cut, tag);
  }
  void broadcast(Stream& stream, const Tensor& inout, int root, const char* tag) override {
    inner_.broadcast(stream, inout, root, tag);
  }
  std::unique_ptr<Pending> start_send(Stream& stream, const Tensor& in, int peer, int channel,
                                      const char* tag) override {
    return inner_.start_send(stream, in, peer, plant_.channel ? plant_.channel(channel) : channel,
                             tag);
  }
  std::unique_ptr<Pending> start_recv(Stream& stream, const Tensor& out, int peer, int channel,
                                      const char* tag) override {
    return inner_.start_recv(stream, out, peer, channel, tag);
  }
  void barrier(const char* tag) override { inner_.barrier(tag); }

 private:
  Communicator& inner_;
  const Plant& plant_;
};

}  // namespace

std::unique_ptr<Communicator> faulty(Communicator& inner, const Plant& plant) {
  return std::make_unique<Faulty>(inner, plant);
}

}  // namespace tessera::test
