// SPDX-License-Identifier: Apache-2.0
// Collectives over MPI point-to-point messages. A reduce-scatter is direct: each rank receives its
// part from every other rank and adds the parts in the fixed tree, so no partial sum travels and
// the bits do not depend on MPI's algorithms. An all-reduce is that and an all-gather.
// Messages carry bytes: bf16 has no MPI type and needs none.
#include "parallel/mpi_communicator.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>

#include <mpi.h>
#include <sched.h>

#include "parallel/reduction_tree.h"
#include "parallel/shard.h"
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
  // Progresses and yields instead of blocking inside MPI: oversubscribed ranks stay quick.
  void wait() {
    while (!test()) sched_yield();
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
class MpiPending : public Pending {
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
    requests.wait();
    finish();
  }
  bool test() override {
    if (!done_ && requests.test()) finish();
    return done_;
  }

 private:
  void finish() {
    done_ = true;
    if (!parts.empty()) reduce_tree(parts, part_dtype, out.data(), out.dtype(), out.size(), op);
    keep.clear();
  }
  const std::string& group_;
  const char* operation_;
  const char* tag_;
  int64_t bytes_;
  bool done_ = false;
};

char* bytes_at(const Tensor& x, int64_t element) {
  return static_cast<char*>(x.data()) + element * size_of(x.dtype());
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

  void all_reduce(Stream& stream, const Tensor& in, const Tensor& out, Reduce op,
                  const char* tag) override {
    check(in.size() == out.size() && in.dtype() == out.dtype(), "all_reduce: in", in.shape(),
          "and out", out.shape(), "differ");
    constexpr int64_t kSmall = 16384;  // bytes: below, everybody sends everything to everybody
    if (in.bytes() <= kSmall)
      reduce_small(in, out, op, tag);
    else
      reduce_large(stream, in, out, op, tag);
  }

  std::unique_ptr<Pending> start_reduce_scatter(Stream&, const Tensor& in, const Tensor& out,
                                                Reduce op, const char* tag) override {
    check(out.size() == even_part(in.size(), rank_, size_).extent, "reduce_scatter: out",
          out.shape(), "is not my part of in", in.shape());
    return scatter(in, out, op, tag);
  }

  std::unique_ptr<Pending> start_all_gather(Stream&, const Tensor& in, const Tensor& out,
                                            const char* tag) override {
    check(in.size() == even_part(out.size(), rank_, size_).extent && in.dtype() == out.dtype(),
          "all_gather: in", in.shape(), "is not my part of out", out.shape());
    return gather(in, out, tag);
  }

  void all_to_all(Stream&, const Tensor& in, const Tensor& out, const char* tag) override {
    check(in.size() == out.size() && in.size() % size_ == 0 && in.data() != out.data(),
          "all_to_all: in", in.shape(), "and out", out.shape(), "for ranks:", size_);
    const int64_t part = in.size() / size_, bytes = part * size_of(in.dtype());
    MpiPending pending(label_, "all-to-all", tag, in.bytes());
    for (int step = 1; step < size_; ++step) {
      const int from = (rank_ - step + size_) % size_, to = (rank_ + step) % size_;
      pending.requests.recv(comm_, bytes_at(out, from * part), bytes, from, kCollectiveTag);
      pending.requests.send(comm_, bytes_at(in, to * part), bytes, to, kCollectiveTag);
    }
    std::memcpy(bytes_at(out, rank_ * part), bytes_at(in, rank_ * part),
                static_cast<size_t>(bytes));
    pending.wait();
  }

  void broadcast(Stream&, const Tensor& inout, int root, const char* tag) override {
    MpiPending pending(label_, "broadcast", tag, inout.bytes());
    if (rank_ == root)
      for (int step = 1; step < size_; ++step)
        pending.requests.send(comm_, inout.data(), inout.bytes(), (rank_ + step) % size_,
                              kCollectiveTag);
    else
      pending.requests.recv(comm_, inout.data(), inout.bytes(), root, kCollectiveTag);
    pending.wait();
  }

  std::unique_ptr<Pending> start_send(Stream&, const Tensor& in, int peer, int channel,
                                      const char* tag) override {
    auto pending = std::make_unique<MpiPending>(label_, "send", tag, in.bytes());
    pending->keep.push_back(in);
    pending->requests.send(comm_, in.data(), in.bytes(), peer, kPointToPointTag + channel);
    return pending;
  }
  std::unique_ptr<Pending> start_recv(Stream&, const Tensor& out, int peer, int channel,
                                      const char* tag) override {
    auto pending = std::make_unique<MpiPending>(label_, "receive", tag, out.bytes());
    pending->keep.push_back(out);
    pending->requests.recv(comm_, out.data(), out.bytes(), peer, kPointToPointTag + channel);
    return pending;
  }

  void barrier(const char* tag) override { Communicator::all_reduce(int64_t{0}, Reduce::sum, tag); }

 private:
  std::unique_ptr<MpiPending> scatter(const Tensor& in, const Tensor& out, Reduce op,
                                      const char* tag) {
    auto pending = std::make_unique<MpiPending>(label_, "reduce-scatter", tag, in.bytes());
    const Interval mine = even_part(in.size(), rank_, size_);
    const int64_t bytes = mine.extent * size_of(in.dtype());
    const Tensor others(Device{}, in.dtype(), {std::max<int64_t>(1, mine.extent * (size_ - 1))},
                        MemoryClass::communication);
    pending->parts.resize(static_cast<size_t>(size_));
    for (int step = 1; step < size_; ++step) {
      const int from = (rank_ - step + size_) % size_, to = (rank_ + step) % size_;
      char* slot = bytes_at(others, (step - 1) * mine.extent);
      pending->parts[static_cast<size_t>(from)] = slot;
      pending->requests.recv(comm_, slot, bytes, from, kCollectiveTag);
      const Interval theirs = even_part(in.size(), to, size_);
      pending->requests.send(comm_, bytes_at(in, theirs.first), theirs.extent * size_of(in.dtype()),
                             to, kCollectiveTag);
    }
    pending->parts[static_cast<size_t>(rank_)] = bytes_at(in, mine.first);
    pending->part_dtype = in.dtype();
    pending->op = op;
    pending->out = out;
    pending->keep = {others, in};
    return pending;
  }

  // Parts are even_part()s of out; `in` is mine.
  std::unique_ptr<MpiPending> gather(const Tensor& in, const Tensor& out, const char* tag) {
    auto pending = std::make_unique<MpiPending>(label_, "all-gather", tag, out.bytes());
    const Interval mine = even_part(out.size(), rank_, size_);
    for (int step = 1; step < size_; ++step) {
      const int from = (rank_ - step + size_) % size_, to = (rank_ + step) % size_;
      const Interval theirs = even_part(out.size(), from, size_);
      pending->requests.recv(comm_, bytes_at(out, theirs.first),
                             theirs.extent * size_of(out.dtype()), from, kCollectiveTag);
      pending->requests.send(comm_, in.data(), in.bytes(), to, kCollectiveTag);
    }
    char* slot = bytes_at(out, mine.first);
    if (slot != in.data()) std::memcpy(slot, in.data(), static_cast<size_t>(in.bytes()));
    pending->keep = {in, out};
    return pending;
  }

  void reduce_small(const Tensor& in, const Tensor& out, Reduce op, const char* tag) {
    MpiPending pending(label_, "all-reduce", tag, in.bytes());
    const Tensor all(Device{}, in.dtype(), {size_, in.size()}, MemoryClass::communication);
    for (int step = 1; step < size_; ++step) {
      const int from = (rank_ - step + size_) % size_, to = (rank_ + step) % size_;
      pending.requests.recv(comm_, bytes_at(all, from * in.size()), in.bytes(), from,
                            kCollectiveTag);
      pending.requests.send(comm_, in.data(), in.bytes(), to, kCollectiveTag);
    }
    std::memcpy(bytes_at(all, rank_ * in.size()), in.data(), static_cast<size_t>(in.bytes()));
    pending.wait();
    std::vector<const void*> parts;
    for (int part = 0; part < size_; ++part) parts.push_back(bytes_at(all, part * in.size()));
    reduce_tree(parts, in.dtype(), out.data(), out.dtype(), out.size(), op);
  }

  void reduce_large(Stream&, const Tensor& in, const Tensor& out, Reduce op, const char* tag) {
    const Interval mine = even_part(in.size(), rank_, size_);
    const Tensor part(Device{}, in.dtype(), {mine.extent}, MemoryClass::communication);
    scatter(in, part, op, tag)->wait();
    gather(part, out, tag)->wait();
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
