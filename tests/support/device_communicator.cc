// SPDX-License-Identifier: Apache-2.0
#include "tests/support/device_communicator.h"

#include <utility>
#include <vector>

#include "kernels/transfer.h"

namespace tessera::test {
namespace {

// Tensors of one call on both sides.
class Mirror {
 public:
  explicit Mirror(Stream& stream) : stream_(stream) {}

  // The larger of two that share memory comes first.
  Tensor operator()(const Tensor& host) {
    if (host.size() == 0) return host.empty() ? Tensor() : fresh(host);
    for (const auto& [whole, there] : pairs_)
      if (holds(whole, host)) return part(whole, there, host);
    const Tensor there = fresh(host);
    upload(stream_, host, there);
    pairs_.emplace_back(host, there);
    return there;
  }
  void bring_back() const {
    for (const auto& [host, there] : pairs_) download(stream_, there, host);
  }

 private:
  Tensor fresh(const Tensor& host) const {
    if (!host.contiguous())
      return Tensor(stream_.device(), host.dtype(), {host.rows(), host.pitch()})
          .column_slice(0, host.columns());
    std::vector<int64_t> extents;
    for (int dim = 0; dim < host.dims(); ++dim) extents.push_back(host.extent(dim));
    const auto buffer = std::make_shared<Buffer>(stream_.device(), host.bytes());
    return Tensor(buffer, host.dtype(), 0, extents);
  }
  static bool holds(const Tensor& whole, const Tensor& part) {
    const auto *first = static_cast<const std::byte*>(whole.data()),
               *at = static_cast<const std::byte*>(part.data());
    return whole.contiguous() && part.contiguous() && whole.dtype() == part.dtype() &&
           first <= at && at + part.bytes() <= first + whole.bytes();
  }
  static Tensor part(const Tensor& whole, const Tensor& there, const Tensor& host) {
    const int64_t first =
        (static_cast<const std::byte*>(host.data()) - static_cast<const std::byte*>(whole.data())) /
        size_of(host.dtype());
    const Tensor flat = there.flat().column_slice(first, host.size());
    return host.dims() < 2 ? flat.reshaped({host.size()})
                           : flat.reshaped({host.rows(), host.columns()});
  }

  Stream& stream_;
  std::vector<std::pair<Tensor, Tensor>> pairs_;
};

class Mirrored : public Pending {
 public:
  Mirrored(std::unique_ptr<Pending> over, Mirror mirror)
      : over_(std::move(over)), mirror_(std::move(mirror)) {}
  void wait() override {
    over_->wait();
    mirror_.bring_back();
  }
  bool test() override { return over_->test(); }

 private:
  std::unique_ptr<Pending> over_;
  Mirror mirror_;
};

class DeviceCommunicator : public Communicator {
 public:
  DeviceCommunicator(Communicator& over, Device device) : over_(over), stream_(device) {}
  int rank() const override { return over_.rank(); }
  int size() const override { return over_.size(); }
  const std::string& label() const override { return over_.label(); }
  const char* transport() const override { return over_.transport(); }

  void all_reduce(Stream&, const Tensor& in, const Tensor& out, Reduce op,
                  const char* tag) override {
    Mirror mirror(stream_);
    const Tensor from = mirror(in), to = mirror(out);
    over_.all_reduce(stream_, from, to, op, tag);
    mirror.bring_back();
  }
  std::unique_ptr<Pending> start_reduce_scatter(Stream&, const Tensor& in, const Cut& cut,
                                                const Tensor& out, Reduce op,
                                                const char* tag) override {
    Mirror mirror(stream_);
    const Tensor from = mirror(in), to = mirror(out);
    return mirrored(over_.start_reduce_scatter(stream_, from, cut, to, op, tag), mirror);
  }
  std::unique_ptr<Pending> start_all_gather(Stream&, const Tensor& in, const Cut& cut,
                                            const Tensor& out, const char* tag) override {
    Mirror mirror(stream_);
    const Tensor to = mirror(out), from = mirror(in);
    return mirrored(over_.start_all_gather(stream_, from, cut, to, tag), mirror);
  }
  void all_to_all(Stream&, const Tensor& in, const Cut& in_cut, const Tensor& out,
                  const Cut& out_cut, const char* tag) override {
    Mirror mirror(stream_);
    const Tensor from = mirror(in), to = mirror(out);
    over_.all_to_all(stream_, from, in_cut, to, out_cut, tag);
    mirror.bring_back();
  }
  void broadcast(Stream&, const Tensor& inout, int root, const char* tag) override {
    Mirror mirror(stream_);
    over_.broadcast(stream_, mirror(inout), root, tag);
    mirror.bring_back();
  }
  std::unique_ptr<Pending> start_send(Stream&, const Tensor& in, int peer, int channel,
                                      const char* tag) override {
    Mirror mirror(stream_);
    return mirrored(over_.start_send(stream_, mirror(in), peer, channel, tag), mirror);
  }
  std::unique_ptr<Pending> start_recv(Stream&, const Tensor& out, int peer, int channel,
                                      const char* tag) override {
    Mirror mirror(stream_);
    return mirrored(over_.start_recv(stream_, mirror(out), peer, channel, tag), mirror);
  }
  void barrier(const char* tag) override { over_.barrier(tag); }

 private:
  static std::unique_ptr<Pending> mirrored(std::unique_ptr<Pending> over, const Mirror& mirror) {
    return std::make_unique<Mirrored>(std::move(over), mirror);
  }

  Communicator& over_;
  Stream stream_;
};

}  // namespace

std::unique_ptr<Communicator> device_communicator(Communicator& over, Device device) {
  return std::make_unique<DeviceCommunicator>(over, device);
}

}  // namespace tessera::test
