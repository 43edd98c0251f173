// SPDX-License-Identifier: Apache-2.0
#include "parallel/transport/shared_board.h"

#include <algorithm>
#include <utility>

#include "kernels/base/check.h"

namespace tessera {
namespace {

constexpr int64_t kLineBytes = 64;
constexpr int64_t kStageBudget = int64_t{8} << 20;    // of all ranks together
constexpr int64_t kMailboxBudget = int64_t{2} << 20;  // of all pairs together

int64_t in_lines(int64_t bytes) {
  return (bytes + kLineBytes - 1) / kLineBytes * kLineBytes;
}

// Pieces of about the second-level cache, less where many ranks share the budget.
int64_t stage_size(int size) {
  const int64_t least = std::max<int64_t>(64 << 10, int64_t{1024} * size);
  return in_lines(std::max(least, std::min<int64_t>(kStageBudget / (2 * size), 1 << 20)));
}

// Room for one rank's share of a stage, whose chunks start on cache lines.
int64_t result_size(int size) {
  return in_lines(stage_size(size) / size) + 4 * kLineBytes;
}

int64_t mailbox_size(int size) {
  return in_lines(std::clamp<int64_t>(kMailboxBudget / (int64_t{size} * size), 4 << 10, 256 << 10));
}

}  // namespace

// One a rank: how many rounds it has arrived at, its last two announcements, and its news.
struct alignas(64) SharedBoard::Line {
  std::atomic<int64_t> arrived{0};
  Announcement announcements[2];
  alignas(64) std::atomic<int64_t> news{0};
};

struct alignas(64) SharedBoard::Header {
  std::atomic<int64_t> arrivals{0};  // of all ranks, at all rounds
};

std::unique_ptr<SharedSegment> share_segment(Communicator& group, int64_t bytes) {
  std::unique_ptr<SharedSegment> segment;
  std::string path, problem;
  const auto attempt = [&problem](const auto& action) {
    try {
      action();
    } catch (const Error& error) {
      problem = error.what();
    }
  };
  if (group.rank() == 0)
    attempt([&] {
      segment = std::make_unique<SharedSegment>(SharedSegment::create(bytes));
      path = segment->path();
    });
  path = group.broadcast(path, 0, "shared memory");
  if (group.rank() != 0 && !path.empty())
    attempt([&] { segment = std::make_unique<SharedSegment>(SharedSegment::open(path, bytes)); });
  group.barrier("shared memory");
  if (segment) segment->close_path();
  check(problem.empty() && segment, ErrorKind::capacity,
        problem.empty() ? "shared memory: the first rank of the group has none" : problem);
  return segment;
}

SharedBoard::SharedBoard(Communicator& group, std::vector<Doorbell*> doorbells)
    : rank_(group.rank()),
      size_(group.size()),
      stage_bytes_(stage_size(size_)),
      result_bytes_(result_size(size_)),
      mailbox_bytes_(mailbox_size(size_)),
      doorbells_(std::move(doorbells)),
      segment_(share_segment(group, total_bytes(size_))) {}

int64_t SharedBoard::total_bytes(int size) {
  const int64_t n = size;
  return static_cast<int64_t>(sizeof(Header)) + n * static_cast<int64_t>(sizeof(Line)) +
         n * n * (static_cast<int64_t>(sizeof(Mailbox)) + mailbox_size(size)) +
         2 * n * (stage_size(size) + result_size(size));
}

// In this order: header, lines, mailboxes, their rings, stages, results.
SharedBoard::Line& SharedBoard::line(int rank) const {
  return *reinterpret_cast<Line*>(segment_->data() + sizeof(Header) +
                                  static_cast<size_t>(rank) * sizeof(Line));
}

Mailbox& SharedBoard::mailbox(int from, int to) const {
  auto* first = reinterpret_cast<Mailbox*>(&line(size_));
  return first[from * size_ + to];
}

std::byte* SharedBoard::letters(int from, int to) const {
  auto* first = reinterpret_cast<std::byte*>(&mailbox(size_, 0));
  return first + (from * size_ + to) * mailbox_bytes_;
}

std::byte* SharedBoard::stage(int rank, int64_t round) const {
  return letters(size_, 0) + (2 * rank + round % 2) * stage_bytes_;
}

std::byte* SharedBoard::result(int rank, int64_t round) const {
  return stage(size_, 0) + (2 * rank + round % 2) * result_bytes_;
}

void SharedBoard::arrive(int64_t round, const Announcement& announcement) {
  Line& mine = line(rank_);
  mine.announcements[round % 2] = announcement;
  mine.arrived.store(round + 1, std::memory_order_relaxed);
  auto& header = *reinterpret_cast<Header*>(segment_->data());
  const int64_t before = header.arrivals.fetch_add(1, std::memory_order_acq_rel);
  if (before + 1 < size_ * (round + 1)) return;
  for (int peer = 0; peer < size_; ++peer)
    if (peer != rank_) doorbells_[static_cast<size_t>(peer)]->ring();
}

bool SharedBoard::complete(int64_t round) const {
  const auto& header = *reinterpret_cast<Header*>(segment_->data());
  return header.arrivals.load(std::memory_order_acquire) >= size_ * (round + 1);
}

Announcement SharedBoard::announced(int rank, int64_t round) const {
  return line(rank).announcements[round % 2];
}

std::vector<int> SharedBoard::missing() const {
  std::vector<int> ranks;
  const int64_t mine = line(rank_).arrived.load(std::memory_order_relaxed);
  for (int rank = 0; rank < size_; ++rank)
    if (line(rank).arrived.load(std::memory_order_relaxed) < mine) ranks.push_back(rank);
  return ranks;
}

void SharedBoard::tell(int rank) const {
  line(rank).news.fetch_add(1, std::memory_order_release);
  if (rank != rank_) doorbells_[static_cast<size_t>(rank)]->ring();
}

int64_t SharedBoard::news() const {
  return line(rank_).news.load(std::memory_order_acquire);
}

}  // namespace tessera
