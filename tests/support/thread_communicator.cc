// SPDX-License-Identifier: Apache-2.0
#include "tests/support/thread_communicator.h"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <thread>
#include <tuple>
#include <vector>

#include "kernels/base/check.h"

namespace tessera {
namespace {

class Done : public Pending {
 public:
  void wait() override {}
  bool test() override { return true; }
};

// A sent tensor; the receiver copies it and marks it taken.
struct Letter {
  Tensor tensor;
  bool taken = false;
};
using Address = std::tuple<int, int, int>;  // from, to, channel

// What the threads share: a barrier that can break, one pointer a rank, and letters.
struct Meeting {
  explicit Meeting(int ranks) : size(ranks), pointers(static_cast<size_t>(ranks)) {}
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

  // Waits until `done`, which is called with the mutex held; every change notifies.
  template <typename Done>
  void wait_for(Done&& done) {
    std::unique_lock lock(mutex);
    condition.wait(lock, [&] { return done() || broken; });
    check(!broken, ErrorKind::peer, "another rank has failed");
  }

  int size;
  std::vector<const void*> pointers;
  std::map<Address, std::deque<std::shared_ptr<Letter>>> letters;
  std::mutex mutex;
  std::condition_variable condition;
  int arrived = 0;
  int64_t round = 0;
  bool broken = false;
};

class SendPending : public Pending {
 public:
  SendPending(Meeting& meeting, std::shared_ptr<Letter> letter)
      : meeting_(meeting), letter_(std::move(letter)) {}
  void wait() override {
    meeting_.wait_for([&] { return letter_->taken; });
  }
  bool test() override {
    const std::lock_guard lock(meeting_.mutex);
    return letter_->taken;
  }

 private:
  Meeting& meeting_;
  std::shared_ptr<Letter> letter_;
};

class RecvPending : public Pending {
 public:
  RecvPending(Meeting& meeting, const Address& address, const Tensor& out)
      : meeting_(meeting), address_(address), out_(out) {}
  void wait() override {
    meeting_.wait_for([&] { return take(); });
  }
  bool test() override {
    const std::lock_guard lock(meeting_.mutex);
    return take();
  }

 private:
  bool take() {  // with the mutex held
    auto& queue = meeting_.letters[address_];
    if (done_ || queue.empty()) return done_;
    Letter& letter = *queue.front();
    check(letter.tensor.bytes() == out_.bytes(), "thread communicator: sent", letter.tensor.shape(),
          "received", out_.shape());
    std::memcpy(out_.data(), letter.tensor.data(), static_cast<size_t>(out_.bytes()));
    letter.taken = true;
    queue.pop_front();
    meeting_.condition.notify_all();
    return done_ = true;
  }

  Meeting& meeting_;
  Address address_;
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
    check(in.dtype() == DType::i64, "thread communicator: reduces i64 only");
    std::vector<int64_t> result(static_cast<size_t>(in.size()));
    exchange(in.data(), [&] {
      for (size_t i = 0; i < result.size(); ++i) {
        int64_t value = peer<int64_t>(0)[i];
        for (int other = 1; other < size(); ++other) {
          const int64_t theirs = peer<int64_t>(other)[i];
          value = op == Reduce::sum   ? value + theirs
                  : op == Reduce::max ? std::max(value, theirs)
                                      : std::min(value, theirs);
        }
        result[i] = value;
      }
    });
    std::copy(result.begin(), result.end(), out.as<int64_t>());
  }
  std::unique_ptr<Pending> start_all_gather(Stream&, const Tensor& in, const Tensor& out,
                                            const char*) override {
    exchange(in.data(), [&] {
      for (int other = 0; other < size(); ++other)
        std::memcpy(static_cast<char*>(out.data()) + other * in.bytes(), peer<char>(other),
                    static_cast<size_t>(in.bytes()));
    });
    return std::make_unique<Done>();
  }
  void broadcast(Stream&, const Tensor& inout, int root, const char*) override {
    exchange(inout.data(), [&] {
      if (rank_ != root)
        std::memcpy(inout.data(), peer<char>(root), static_cast<size_t>(inout.bytes()));
    });
  }
  void barrier(const char*) override { meeting_.arrive(); }

  std::unique_ptr<Pending> start_reduce_scatter(Stream&, const Tensor&, const Tensor&, Reduce,
                                                const char*) override {
    fail(ErrorKind::internal, "thread communicator: no reduce_scatter");
  }
  void all_to_all(Stream&, const Tensor&, const Tensor&, const char*) override {
    fail(ErrorKind::internal, "thread communicator: no all_to_all");
  }
  std::unique_ptr<Pending> start_send(Stream&, const Tensor& in, int peer, int channel,
                                      const char*) override {
    auto letter = std::make_shared<Letter>(Letter{in});
    const std::lock_guard lock(meeting_.mutex);
    meeting_.letters[{rank_, peer, channel}].push_back(letter);
    meeting_.condition.notify_all();
    return std::make_unique<SendPending>(meeting_, std::move(letter));
  }
  std::unique_ptr<Pending> start_recv(Stream&, const Tensor& out, int peer, int channel,
                                      const char*) override {
    return std::make_unique<RecvPending>(meeting_, Address{peer, rank_, channel}, out);
  }

 private:
  // Shows `mine` to the others, runs `look` while everybody's stands still, then parts.
  template <typename Look>
  void exchange(const void* mine, Look&& look) {
    meeting_.pointers[static_cast<size_t>(rank_)] = mine;
    meeting_.arrive();
    look();
    meeting_.arrive();
  }
  template <typename T>
  const T* peer(int rank) const {
    return static_cast<const T*>(meeting_.pointers[static_cast<size_t>(rank)]);
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
