// SPDX-License-Identifier: Apache-2.0
// Collectives over MPI point-to-point messages. A reduce-scatter is direct: each rank receives its
// part from every other rank and adds the parts in the fixed tree, so no partial sum travels and
// the bits do not depend on MPI's algorithms. An all-reduce is that and an all-gather.
// Messages carry bytes: bf16 has no MPI type and needs none.
#include "parallel/transport/mpi_communicator.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>

#include <mpi.h>
#include <sched.h>

#include "parallel/transport/collective_arguments.h"
#include "parallel/transport/progress.h"
#include "parallel/transport/reduction_tree.h"
#include "parallel/watchdog.h"

namespace tessera {
namespace {

std::atomic<bool> abandoned{false};

void check_mpi(int result, const char* call) {
  if (result == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(result, text, &length);
  fail(ErrorKind::peer, call, "failed:", std::string(text, static_cast<size_t>(length)));
}

constexpr int64_t kMessageLimit = int64_t{1} << 30;  // MPI counts are ints
constexpr int kCollectiveTag = 1;
constexpr int kPointToPointTag = 16;  // + channel

class Requests {
 public:
  void send(MPI_Comm comm, const void* data, int64_t bytes, int peer, int tag) {
    for (int64_t first = 0; first < bytes; first += kMessageLimit)
      check_mpi(MPI_Isend(static_cast<const char*>(data) + first, count(bytes - first), MPI_BYTE,
                          peer, tag, comm, add()),
                "MPI_Isend");
  }
  void recv(MPI_Comm comm, void* data, int64_t bytes, int peer, int tag) {
    for (int64_t first = 0; first < bytes; first += kMessageLimit)
      check_mpi(MPI_Irecv(static_cast<char*>(data) + first, count(bytes - first), MPI_BYTE, peer,
                          tag, comm, add()),
                "MPI_Irecv");
  }
  bool test() {
    int done = 0;
    check_mpi(MPI_Testall(static_cast<int>(all_.size()), all_.data(), &done, MPI_STATUSES_IGNORE),
              "MPI_Testall");
    return done != 0;
  }

 private:
  static int count(int64_t rest) { return static_cast<int>(std::min(rest, kMessageLimit)); }
  MPI_Request* add() {
    all_.push_back(MPI_REQUEST_NULL);
    return &all_.back();
  }
  std::vector<MPI_Request> all_;
};

// A started collective: requests, and what to do once they are complete.
class MpiPending : public Pending, public Progressing {
 public:
  MpiPending(const std::string& group, const char* operation, const char* tag, int64_t bytes)
      : group_(group), operation_(operation), tag_(tag), bytes_(bytes) {}
  Requests requests;
  std::vector<Tensor> keep;  // buffers that must live until completion
  // Reduce-scatter: parts in rank order, added when all have arrived.
  std::vector<const void*> parts;
  Tensor out;
  DType part_dtype = DType::f32;
  Reduce op = Reduce::sum;

  void wait() override {
    if (done_) return;
    const Watched watched(group_, operation_, tag_, bytes_);
    // Progresses and yields instead of blocking inside MPI: oversubscribed ranks stay quick.
    while (!test())
      if (!progress_everything()) sched_yield();
  }
  bool test() override {
    if (!done_ && requests.test()) finish();
    return done_;
  }
  bool progress() override { return !done_ && test(); }
  bool must_be_polled() const override { return !done_; }

 private:
  void finish() {
    done_ = true;
    if (out.size() > 0) reduce_tree(parts, part_dtype, out.data(), out.dtype(), out.size(), op);
    keep.clear();
  }
  const std::string& group_;
  const char* operation_;
  const char* tag_;
  int64_t bytes_;
  bool done_ = false;
};

void copy_bytes(const Bytes& from, const Bytes& to) {
  if (to.size > 0 && to.data != from.data)
    std::memcpy(to.data, from.data, static_cast<size_t>(to.size));
}

class MpiCommunicator : public Communicator {
 public:
  MpiCommunicator(MPI_Comm comm, std::string label) : comm_(comm), label_(std::move(label)) {
    MPI_Comm_rank(comm_, &rank_);
    MPI_Comm_size(comm_, &size_);
    MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN);
  }
  ~MpiCommunicator() override {
    if (!abandoned) MPI_Comm_free(&comm_);
  }
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  const std::string& label() const override { return label_; }
  const char* transport() const override { return "mpi"; }

  void all_reduce(Stream&, const Tensor& in, const Tensor& out, Reduce op,
                  const char* tag) override {
    check_all_reduce(in, out);
    if (in.size() == 0) return;
    constexpr int64_t kSmall = 16384;  // bytes: below, everybody sends everything to everybody
    if (in.bytes() <= kSmall)
      reduce_small(in, out, op, tag);
    else
      reduce_large(in.reshaped({in.size()}), out.reshaped({out.size()}), op, tag);
  }

  std::unique_ptr<Pending> start_reduce_scatter(Stream&, const Tensor& in, const Cut& cut,
                                                const Tensor& out, Reduce op,
                                                const char* tag) override {
    check_reduce_scatter(in, cut, out, rank_, size_);
    return scatter(in, cut, out, op, tag);
  }

  std::unique_ptr<Pending> start_all_gather(Stream&, const Tensor& in, const Cut& cut,
                                            const Tensor& out, const char* tag) override {
    check_all_gather(in, cut, out, rank_, size_);
    return gather(in, cut, out, tag);
  }

  void all_to_all(Stream&, const Tensor& in, const Cut& in_cut, const Tensor& out,
                  const Cut& out_cut, const char* tag) override {
    check_all_to_all(in, in_cut, out, out_cut, rank_, size_);
    MpiPending pending(label_, "all-to-all", tag, in.bytes());
    for (int step = 1; step < size_; ++step) {
      receive_part(pending, out, out_cut, (rank_ - step + size_) % size_);
      send_part(pending, in, in_cut, (rank_ + step) % size_);
    }
    copy_bytes(bytes_of(in, in_cut.part(rank_)), bytes_of(out, out_cut.part(rank_)));
    pending.wait();
  }

  void broadcast(Stream&, const Tensor& inout, int root, const char* tag) override {
    check_contiguous("broadcast", inout);
    MpiPending pending(label_, "broadcast", tag, inout.bytes());
    const Bytes bytes = bytes_of(inout);
    if (rank_ == root)
      for (int step = 1; step < size_; ++step)
        pending.requests.send(comm_, bytes.data, bytes.size, (rank_ + step) % size_,
                              kCollectiveTag);
    else
      pending.requests.recv(comm_, bytes.data, bytes.size, root, kCollectiveTag);
    pending.wait();
  }

  std::unique_ptr<Pending> start_send(Stream&, const Tensor& in, int peer, int channel,
                                      const char* tag) override {
    auto pending = std::make_unique<MpiPending>(label_, "send", tag, in.bytes());
    check_contiguous("send", in);
    pending->keep.push_back(in);
    const Bytes bytes = bytes_of(in);
    pending->requests.send(comm_, bytes.data, bytes.size, peer, kPointToPointTag + channel);
    return pending;
  }
  std::unique_ptr<Pending> start_recv(Stream&, const Tensor& out, int peer, int channel,
                                      const char* tag) override {
    auto pending = std::make_unique<MpiPending>(label_, "receive", tag, out.bytes());
    check_contiguous("receive", out);
    pending->keep.push_back(out);
    const Bytes bytes = bytes_of(out);
    pending->requests.recv(comm_, bytes.data, bytes.size, peer, kPointToPointTag + channel);
    return pending;
  }

  void barrier(const char* tag) override { Communicator::all_reduce(int64_t{0}, Reduce::sum, tag); }

 private:
  void send_part(MpiPending& pending, const Tensor& whole, const Cut& cut, int to) {
    const Bytes bytes = bytes_of(whole, cut.part(to));
    pending.requests.send(comm_, bytes.data, bytes.size, to, kCollectiveTag);
  }
  void receive_part(MpiPending& pending, const Tensor& whole, const Cut& cut, int from) {
    const Bytes bytes = bytes_of(whole, cut.part(from));
    pending.requests.recv(comm_, bytes.data, bytes.size, from, kCollectiveTag);
  }

  std::unique_ptr<MpiPending> scatter(const Tensor& in, const Cut& cut, const Tensor& out,
                                      Reduce op, const char* tag) {
    auto pending = std::make_unique<MpiPending>(label_, "reduce-scatter", tag, in.bytes());
    const Bytes mine = bytes_of(in, cut.part(rank_));
    const Tensor others(Device{}, in.dtype(),
                        {mine.size / size_of(in.dtype()) * std::max(1, size_ - 1)},
                        MemoryClass::communication);
    pending->parts.resize(static_cast<size_t>(size_));
    for (int step = 1; step < size_; ++step) {
      const int from = (rank_ - step + size_) % size_;
      std::byte* slot = static_cast<std::byte*>(others.data()) + (step - 1) * mine.size;
      pending->parts[static_cast<size_t>(from)] = slot;
      pending->requests.recv(comm_, slot, mine.size, from, kCollectiveTag);
      send_part(*pending, in, cut, (rank_ + step) % size_);
    }
    pending->parts[static_cast<size_t>(rank_)] = mine.data;
    pending->part_dtype = in.dtype();
    pending->op = op;
    pending->out = out;
    pending->keep = {others, in};
    return pending;
  }

  std::unique_ptr<MpiPending> gather(const Tensor& in, const Cut& cut, const Tensor& out,
                                     const char* tag) {
    auto pending = std::make_unique<MpiPending>(label_, "all-gather", tag, out.bytes());
    const Bytes mine = bytes_of(in);
    for (int step = 1; step < size_; ++step) {
      receive_part(*pending, out, cut, (rank_ - step + size_) % size_);
      pending->requests.send(comm_, mine.data, mine.size, (rank_ + step) % size_, kCollectiveTag);
    }
    copy_bytes(mine, bytes_of(out, cut.part(rank_)));
    pending->keep = {in, out};
    return pending;
  }

  void reduce_small(const Tensor& in, const Tensor& out, Reduce op, const char* tag) {
    MpiPending pending(label_, "all-reduce", tag, in.bytes());
    const Tensor all(Device{}, in.dtype(), {size_, in.size()}, MemoryClass::communication);
    const Cut each = Cut::even(size_, size_);
    const Bytes mine = bytes_of(in);
    for (int step = 1; step < size_; ++step) {
      receive_part(pending, all, each, (rank_ - step + size_) % size_);
      pending.requests.send(comm_, mine.data, mine.size, (rank_ + step) % size_, kCollectiveTag);
    }
    copy_bytes(mine, bytes_of(all, each.part(rank_)));
    pending.wait();
    std::vector<const void*> parts;
    for (int part = 0; part < size_; ++part) parts.push_back(bytes_of(all, each.part(part)).data);
    reduce_tree(parts, in.dtype(), out.data(), out.dtype(), out.size(), op);
  }

  void reduce_large(const Tensor& in, const Tensor& out, Reduce op, const char* tag) {
    const Cut cut = Cut::even(in.size(), size_);
    const Tensor part(Device{}, in.dtype(), {cut.part(rank_).extent}, MemoryClass::communication);
    scatter(in, cut, part, op, tag)->wait();
    gather(part, cut, out, tag)->wait();
  }

  MPI_Comm comm_;
  std::string label_;
  int rank_ = 0;
  int size_ = 1;
};

}  // namespace

std::unique_ptr<Communicator> mpi_communicator(const void* comm, std::string label) {
  return std::make_unique<MpiCommunicator>(*static_cast<const MPI_Comm*>(comm), std::move(label));
}

void abandon_mpi() {
  abandoned = true;
}

}  // namespace tessera
