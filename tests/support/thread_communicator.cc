// SPDX-License-Identifier: Apache-2.0
#include "tests/support/thread_communicator.h"

#include <array>
#include <condition_variable>
#include <cstddef>
#include <cstring>
#include <exception>
#include <map>
#include <mutex>
#include <queue>
#include <thread>
#include <utility>
#include <vector>

#include "kernels/base/check.h"
#include "parallel/transport/collective_arguments.h"
#include "parallel/transport/reduction_tree.h"

namespace tessera {
namespace {

class Done : public Pending {
 public:
  void wait() override {}
  bool test() override { return true; }
};

// What the threads share: a barrier that can break, what each rank shows the others, and mail.
struct Meeting {
  explicit Meeting(int ranks) : size(ranks), shown(static_cast<size_t>(ranks)) {}
  void arrive() {
    std::unique_lock lock(mutex);
    const int64_t my_round = round;
    if (++arrived == size) {
      arrived = 0;
      ++round;
      condition.notify_all();
    } else {
      condition.wait(lock, [&] { return round != my_round || broken; });
    }
    check(round != my_round || !broken, ErrorKind::peer, "another rank has failed");
  }
  void leave_broken() {
    const std::lock_guard lock(mutex);
    broken = true;
    condition.notify_all();
  }

  using Address = std::array<int, 3>;  // from, to, channel
  using Letter = std::vector<std::byte>;
  void post(const Address& address, Letter letter) {
    const std::lock_guard lock(mutex);
    mail[address].push(std::move(letter));
    condition.notify_all();
  }
  bool has_mail(const Address& address) {
    const std::lock_guard lock(mutex);
    return !mail[address].empty();
  }
  Letter fetch(const Address& address) {
    std::unique_lock lock(mutex);
    std::queue<Letter>& box = mail[address];
    condition.wait(lock, [&] { return !box.empty() || broken; });
    check(!box.empty(), ErrorKind::peer, "another rank has failed");
    Letter letter = std::move(box.front());
    box.pop();
    return letter;
  }

  struct Shown {
    Bytes bytes;
    const Cut* cut;
  };
  int size;
  std::vector<Shown> shown;
  std::map<Address, std::queue<Letter>> mail;
  std::mutex mutex;
  std::condition_variable condition;
  int arrived = 0;
  int64_t round = 0;
  bool broken = false;
};

class Received : public Pending {
 public:
  Received(Meeting& meeting, Meeting::Address address, Tensor out)
      : meeting_(meeting), address_(address), out_(std::move(out)) {}
  void wait() override {
    if (done_) return;
    const Meeting::Letter letter = meeting_.fetch(address_);
    check(static_cast<int64_t>(letter.size()) == out_.bytes(), "thread communicator: received",
          letter.size(), "bytes for", out_.shape());
    if (!letter.empty()) std::memcpy(out_.data(), letter.data(), letter.size());
    done_ = true;
  }
  bool test() override {
    if (!done_ && meeting_.has_mail(address_)) wait();
    return done_;
  }

 private:
  Meeting& meeting_;
  Meeting::Address address_;
  Tensor out_;
  bool done_ = false;
};

class ThreadCommunicator : public Communicator {
 public:
  ThreadCommunicator(Meeting& meeting, int rank) : meeting_(meeting), rank_(rank) {}
  int rank() const override { return rank_; }
  int size() const override { return meeting_.size; }
  const std::string& label() const override { return label_; }
  const char* transport() const override { return "threads"; }

  void all_reduce(Stream&, const Tensor& in, const Tensor& out, Reduce op, const char*) override {
    check_all_reduce(in, out);
    if (in.size() == 0) return;
    const Tensor result(Device{}, in.dtype(), {in.size()});
    exchange(bytes_of(in), nullptr, [&] { reduce({0, in.size()}, in.dtype(), result, op); });
    std::memcpy(out.data(), result.data(), static_cast<size_t>(out.bytes()));
  }
  std::unique_ptr<Pending> start_reduce_scatter(Stream&, const Tensor& in, const Cut& cut,
                                                const Tensor& out, Reduce op,
                                                const char*) override {
    check_reduce_scatter(in, cut, out, rank_, size());
    const Interval rows = cut.part(rank_);
    const Interval elements = {rows.first * row_elements(in), out.size()};
    exchange(bytes_of(in), &cut, [&] {
      if (out.size() > 0) reduce(elements, in.dtype(), out, op);
    });
    return std::make_unique<Done>();
  }
  std::unique_ptr<Pending> start_all_gather(Stream&, const Tensor& in, const Cut& cut,
                                            const Tensor& out, const char*) override {
    check_all_gather(in, cut, out, rank_, size());
    exchange(bytes_of(in), &cut, [&] {
      for (int from = 0; from < size(); ++from)
        copy_bytes(peer(from).bytes, bytes_of(out, cut.part(from)));
    });
    return std::make_unique<Done>();
  }
  void all_to_all(Stream&, const Tensor& in, const Cut& in_cut, const Tensor& out,
                  const Cut& out_cut, const char*) override {
    check_all_to_all(in, in_cut, out, out_cut, rank_, size());
    exchange(bytes_of(in), &in_cut, [&] {
      for (int from = 0; from < size(); ++from) {
        const Interval rows = peer(from).cut->part(rank_);
        const Bytes to = bytes_of(out, out_cut.part(from));
        check(rows.extent == out_cut.part(from).extent, "all_to_all: rank", from, "sends",
              rows.extent, "rows, expected", out_cut.part(from).extent);
        if (to.size > 0)
          copy_bytes({peer(from).bytes.data + rows.first * (to.size / rows.extent), to.size}, to);
      }
    });
  }
  void broadcast(Stream&, const Tensor& inout, int root, const char*) override {
    check_contiguous("broadcast", inout);
    exchange(bytes_of(inout), nullptr, [&] {
      if (rank_ != root) copy_bytes(peer(root).bytes, bytes_of(inout));
    });
  }
  std::unique_ptr<Pending> start_send(Stream&, const Tensor& in, int to, int channel,
                                      const char*) override {
    const Bytes bytes = bytes_of(in);
    meeting_.post({rank_, to, channel}, Meeting::Letter(bytes.data, bytes.data + bytes.size));
    return std::make_unique<Done>();
  }
  std::unique_ptr<Pending> start_recv(Stream&, const Tensor& out, int from, int channel,
                                      const char*) override {
    return std::make_unique<Received>(meeting_, Meeting::Address{from, rank_, channel}, out);
  }
  void barrier(const char*) override { meeting_.arrive(); }

 private:
  // Shows mine to the others, runs `look` while everybody's stands still, then parts.
  template <typename Look>
  void exchange(const Bytes& mine, const Cut* cut, Look&& look) {
    meeting_.shown[static_cast<size_t>(rank_)] = {mine, cut};
    meeting_.arrive();
    look();
    meeting_.arrive();
  }
  const Meeting::Shown& peer(int rank) const { return meeting_.shown[static_cast<size_t>(rank)]; }
  void reduce(const Interval& elements, DType dtype, const Tensor& out, Reduce op) const {
    std::vector<const void*> parts;
    for (int from = 0; from < size(); ++from)
      parts.push_back(peer(from).bytes.data + elements.first * size_of(dtype));
    reduce_tree(parts, dtype, out.data(), out.dtype(), elements.extent, op);
  }
  static void copy_bytes(const Bytes& from, const Bytes& to) {
    if (to.size > 0 && to.data != from.data)
      std::memcpy(to.data, from.data, static_cast<size_t>(to.size));
  }

  Meeting& meeting_;
  int rank_;
  std::string label_ = "world";
};

}  // namespace

void run_ranks(int size, const std::function<void(Communicator& world)>& body) {
  Meeting meeting(size);
  std::vector<std::exception_ptr> errors(static_cast<size_t>(size));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank)
    threads.emplace_back([&, rank] {
      ThreadCommunicator world(meeting, rank);
      try {
        body(world);
      } catch (...) {
        errors[static_cast<size_t>(rank)] = std::current_exception();
        meeting.leave_broken();
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);
}

}  // namespace tessera
