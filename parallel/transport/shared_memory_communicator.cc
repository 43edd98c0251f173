// SPDX-License-Identifier: Apache-2.0
#include "parallel/transport/shared_memory_communicator.h"

#include <deque>
#include <utility>

#include "parallel/transport/collective_arguments.h"
#include "parallel/transport/direct_rounds.h"
#include "parallel/transport/progress.h"
#include "parallel/transport/shared_mail.h"
#include "parallel/transport/shared_rounds.h"
#include "parallel/watchdog.h"

namespace tessera {
namespace {

class SharedMemoryCommunicator : public Communicator, public Progressing, public Awaited {
 public:
  SharedMemoryCommunicator(std::unique_ptr<SharedBoard> board, Patience& patience,
                           std::string label, std::vector<std::string> names)
      : board_(std::move(board)),
        patience_(patience),
        label_(std::move(label)),
        names_(std::move(names)),
        mail_(*board_) {}
  int rank() const override { return board_->rank(); }
  int size() const override { return board_->size(); }
  const std::string& label() const override { return label_; }
  const char* transport() const override { return "shared memory"; }

  void all_reduce(Stream&, const Tensor& in, const Tensor& out, Reduce op,
                  const char* tag) override {
    check_all_reduce(in, out);
    if (in.size() == 0) return;
    const auto& rounds = in.bytes() < kLeastDirect ? all_reduce_rounds : direct_all_reduce;
    finish(start(rounds(*board_, in, out, op), "all-reduce", tag, in.bytes()));
  }
  std::unique_ptr<Pending> start_reduce_scatter(Stream&, const Tensor& in, const Cut& cut,
                                                const Tensor& out, Reduce op,
                                                const char* tag) override {
    check_reduce_scatter(in, cut, out, rank(), size());
    const auto& rounds = in.bytes() < kLeastDirect ? reduce_scatter_rounds : direct_reduce_scatter;
    return started(rounds(*board_, in, cut, out, op), "reduce-scatter", tag, in.bytes());
  }
  std::unique_ptr<Pending> start_all_gather(Stream&, const Tensor& in, const Cut& cut,
                                            const Tensor& out, const char* tag) override {
    check_all_gather(in, cut, out, rank(), size());
    const auto& rounds = out.bytes() < kLeastDirect ? all_gather_rounds : direct_all_gather;
    return started(rounds(*board_, in, cut, out), "all-gather", tag, out.bytes());
  }
  void all_to_all(Stream&, const Tensor& in, const Cut& in_cut, const Tensor& out,
                  const Cut& out_cut, const char* tag) override {
    check_all_to_all(in, in_cut, out, out_cut, rank(), size());
    finish(
        start(all_to_all_rounds(*board_, in, in_cut, out, out_cut), "all-to-all", tag, in.bytes()));
  }
  void broadcast(Stream&, const Tensor& inout, int root, const char* tag) override {
    check_contiguous("broadcast", inout);
    finish(start(broadcast_rounds(*board_, inout, root), "broadcast", tag, inout.bytes()));
  }
  std::unique_ptr<Pending> start_send(Stream&, const Tensor& in, int peer, int channel,
                                      const char* tag) override {
    check_contiguous("send", in);
    return posted(mail_.send(peer, channel, in), "send", tag, in.bytes());
  }
  std::unique_ptr<Pending> start_recv(Stream&, const Tensor& out, int peer, int channel,
                                      const char* tag) override {
    check_contiguous("receive", out);
    return posted(mail_.receive(peer, channel, out), "receive", tag, out.bytes());
  }
  void barrier(const char* tag) override { finish(start(barrier_rounds(), "barrier", tag, 0)); }

  bool progress() override { return progress_rounds() | mail_.progress(); }
  bool must_be_polled() const override { return false; }

  std::string missing() const override {
    std::string text;
    for (const int rank : board_->missing())
      text += (text.empty() ? "" : ", ") + names_[static_cast<size_t>(rank)];
    return text;
  }

 private:
  // Something started here, which is over when its `done` says so.
  template <typename Started>
  class SharedPending : public Pending {
   public:
    SharedPending(SharedMemoryCommunicator& owner, std::shared_ptr<Started> what,
                  const char* operation, const char* tag, int64_t bytes)
        : owner_(owner), what_(std::move(what)), operation_(operation), tag_(tag), bytes_(bytes) {}
    void wait() override { owner_.wait_for(what_->done, operation_, tag_, bytes_); }
    bool test() override {
      if (!what_->done) progress_everything();
      return what_->done;
    }

   private:
    SharedMemoryCommunicator& owner_;
    std::shared_ptr<Started> what_;
    const char* operation_;
    const char* tag_;
    int64_t bytes_;
  };

  std::shared_ptr<Rounds> start(std::shared_ptr<Rounds> rounds, const char* operation,
                                const char* tag, int64_t bytes) {
    rounds->operation = operation;
    rounds->tag = tag;
    rounds->bytes = bytes;
    queue_.push_back(rounds);
    progress_rounds();
    return rounds;
  }
  void finish(const std::shared_ptr<Rounds>& rounds) {
    wait_for(rounds->done, rounds->operation, rounds->tag, rounds->bytes);
  }
  std::unique_ptr<Pending> started(std::shared_ptr<Rounds> rounds, const char* operation,
                                   const char* tag, int64_t bytes) {
    return std::make_unique<SharedPending<Rounds>>(
        *this, start(std::move(rounds), operation, tag, bytes), operation, tag, bytes);
  }
  std::unique_ptr<Pending> posted(std::shared_ptr<Letter> letter, const char* operation,
                                  const char* tag, int64_t bytes) {
    mail_.progress();
    return std::make_unique<SharedPending<Letter>>(*this, std::move(letter), operation, tag, bytes);
  }

  void wait_for(const bool& done, const char* operation, const char* tag, int64_t bytes) {
    if (done) return;
    const Watched watched(label_, operation, tag, bytes, this);
    while (!done) patience_.pause();
  }

  // Collectives take their rounds one after another, in the order in which they were started.
  bool progress_rounds() {
    bool moved = false;
    while (!queue_.empty()) {
      Rounds& rounds = *queue_.front();
      if (!arrived_) {
        rounds.stage(round_, step_);
        board_->arrive(round_, rounds.announcement());
        arrived_ = moved = true;
      }
      if (!board_->complete(round_)) return moved;
      if (step_ == 0) compare_announcements(rounds);
      rounds.take(round_, step_);
      ++round_;
      ++step_;
      arrived_ = false;
      moved = true;
      if (step_ < rounds.num_steps()) continue;
      rounds.done = true;
      step_ = 0;
      queue_.pop_front();
    }
    return moved;
  }
  void compare_announcements(const Rounds& rounds) const {
    for (int peer = 0; peer < size(); ++peer)
      check(board_->announced(peer, round_) == rounds.announcement(), "group", label_ + ":",
            names_[static_cast<size_t>(peer)], "takes part in another collective than mine,",
            rounds.operation, "of", rounds.bytes, "bytes", rounds.tag);
  }

  std::unique_ptr<SharedBoard> board_;
  Patience& patience_;
  std::string label_;
  std::vector<std::string> names_;
  SharedMail mail_;
  std::deque<std::shared_ptr<Rounds>> queue_;
  int64_t round_ = 0;     // of the board
  int64_t step_ = 0;      // of the first in the queue
  bool arrived_ = false;  // at round_
};

}  // namespace

std::unique_ptr<Communicator> shared_memory_communicator(std::unique_ptr<SharedBoard> board,
                                                         Patience& patience, std::string label,
                                                         std::vector<std::string> names) {
  return std::make_unique<SharedMemoryCommunicator>(std::move(board), patience, std::move(label),
                                                    std::move(names));
}

}  // namespace tessera
