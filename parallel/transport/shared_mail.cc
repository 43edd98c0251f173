// SPDX-License-Identifier: Apache-2.0
#include "parallel/transport/shared_mail.h"

#include <algorithm>
#include <cstring>

#include "parallel/transport/collective_arguments.h"

namespace tessera {
namespace {

// One end of a mailbox's ring: moves at most as many bytes as there are, or is room for.
class Ring {
 public:
  Ring(const SharedBoard& board, int from, int to)
      : box_(board.mailbox(from, to)),
        bytes_(board.letters(from, to)),
        capacity_(board.mailbox_bytes()) {}

  int64_t write(const std::byte* from, int64_t count) {
    const int64_t end = box_.written.load(std::memory_order_relaxed);
    const int64_t room = capacity_ - (end - box_.read.load(std::memory_order_acquire));
    const int64_t moved = std::min(count, room);
    each_run(end, moved, [&](std::byte* ring, int64_t offset, int64_t run) {
      std::memcpy(ring, from + offset, static_cast<size_t>(run));
    });
    box_.written.store(end + moved, std::memory_order_release);
    return moved;
  }
  int64_t read(std::byte* to, int64_t count) {
    const int64_t start = box_.read.load(std::memory_order_relaxed);
    const int64_t there = box_.written.load(std::memory_order_acquire) - start;
    const int64_t moved = std::min(count, there);
    each_run(start, moved, [&](const std::byte* ring, int64_t offset, int64_t run) {
      std::memcpy(to + offset, ring, static_cast<size_t>(run));
    });
    box_.read.store(start + moved, std::memory_order_release);
    return moved;
  }

 private:
  // The ring's end may lie inside: two runs then.
  template <typename Function>
  void each_run(int64_t position, int64_t count, Function&& function) const {
    const int64_t place = position % capacity_;
    const int64_t first = std::min(count, capacity_ - place);
    if (first > 0) function(bytes_ + place, 0, first);
    if (count > first) function(bytes_, first, count - first);
  }

  Mailbox& box_;
  std::byte* bytes_;
  int64_t capacity_;
};

}  // namespace

SharedMail::SharedMail(const SharedBoard& board)
    : board_(board),
      outbox_(static_cast<size_t>(board.size())),
      lent_(static_cast<size_t>(board.size())),
      inbox_(static_cast<size_t>(board.size())) {}

std::shared_ptr<Letter> SharedMail::send(int to, int channel, const Tensor& in) {
  auto letter = std::make_shared<Letter>(Letter{channel, in});
  if (in.bytes() >= kLeastShared) {
    const Tensor copy(Device{}, in.dtype(), {in.size()}, MemoryClass::communication);
    if (place_of(copy).kind == MemoryPlace::Kind::shared) {
      std::memcpy(copy.data(), in.data(), static_cast<size_t>(in.bytes()));
      letter->contents = copy;
      letter->lent = true;
    }
  }
  outbox_.at(static_cast<size_t>(to)).push_back(letter);
  busy_ = true;
  return letter;
}

std::shared_ptr<Letter> SharedMail::receive(int from, int channel, const Tensor& out) {
  auto letter = std::make_shared<Letter>(Letter{channel, out});
  Inbox& inbox = inbox_.at(static_cast<size_t>(from));
  inbox.awaited[channel].push_back(letter);
  match(inbox, channel);
  busy_ = true;
  return letter;
}

bool SharedMail::progress() {
  const int64_t news = board_.news();
  if (news == seen_ && !busy_) return false;
  seen_ = news;
  busy_ = false;
  bool moved = false;
  for (int peer = 0; peer < board_.size(); ++peer) {
    moved |= push(peer);
    moved |= pull(peer);
  }
  return moved;
}

bool SharedMail::push(int to) {
  forget_returned(to);
  auto& letters = outbox_[static_cast<size_t>(to)];
  if (letters.empty()) return false;
  Ring ring(board_, board_.rank(), to);
  constexpr auto kHead = static_cast<int64_t>(sizeof(Head));
  int64_t total = 0;
  while (!letters.empty()) {
    Letter& letter = *letters.front();
    const Bytes contents = bytes_of(letter.contents);
    const Head head = {letter.channel, contents.size,
                       letter.lent ? place_of(letter.contents) : MemoryPlace{}};
    if (letter.moved < kHead) {
      const auto* bytes = reinterpret_cast<const std::byte*>(&head);
      const int64_t moved = ring.write(bytes + letter.moved, kHead - letter.moved);
      letter.moved += moved;
      total += moved;
    }
    if (letter.moved >= kHead && !letter.lent) {
      const int64_t done = letter.moved - kHead;
      const int64_t moved = ring.write(contents.data + done, contents.size - done);
      letter.moved += moved;
      total += moved;
    }
    if (letter.moved < kHead + (letter.lent ? 0 : contents.size)) break;  // the ring is full
    letter.done = true;
    if (letter.lent) lent_[static_cast<size_t>(to)].copies.push_back(letter.contents);
    letters.pop_front();
  }
  if (total > 0) board_.tell(to);
  return total > 0;
}

bool SharedMail::pull(int from) {
  Inbox& inbox = inbox_[static_cast<size_t>(from)];
  Ring ring(board_, from, board_.rank());
  constexpr auto kHead = static_cast<int64_t>(sizeof(Head));
  int64_t total = 0;
  for (;;) {
    int64_t moved = 0;
    if (inbox.current == nullptr) {
      auto* bytes = reinterpret_cast<std::byte*>(&inbox.head);
      moved = ring.read(bytes + inbox.head_bytes, kHead - inbox.head_bytes);
      inbox.head_bytes += moved;
      if (inbox.head_bytes == kHead) begin(inbox, from);
    }
    if (inbox.current != nullptr) {
      Letter& letter = *inbox.current;
      const Bytes contents = bytes_of(letter.contents);
      if (inbox.head.place.kind == MemoryPlace::Kind::shared) read_lent(inbox, from);
      const int64_t more = ring.read(contents.data + letter.moved, inbox.head.bytes - letter.moved);
      letter.moved += more;
      moved += more;
      if (letter.moved == inbox.head.bytes) {
        letter.done = true;
        inbox.current.reset();
        inbox.head_bytes = 0;
        match(inbox, inbox.head.channel);
      }
    }
    if (moved == 0) break;
    total += moved;
  }
  if (total > 0) board_.tell(from);
  return total > 0;
}

// The head has come: the contents go where a receive waits for them, else to a place of our own.
void SharedMail::begin(Inbox& inbox, int from) {
  auto& awaited = inbox.awaited[inbox.head.channel];
  if (!awaited.empty()) {
    inbox.current = awaited.front();
    awaited.pop_front();
  } else {
    inbox.current = std::make_shared<Letter>();
    inbox.current->contents =
        Tensor(Device{}, DType::i32, {(inbox.head.bytes + 3) / 4}, MemoryClass::communication);
    inbox.kept[inbox.head.channel].push_back(inbox.current);
    return;
  }
  check(inbox.current->contents.bytes() == inbox.head.bytes, "receive: rank", from, "sent",
        inbox.head.bytes, "bytes on channel", inbox.head.channel, "for",
        inbox.current->contents.shape());
}

void SharedMail::read_lent(Inbox& inbox, int from) {
  constexpr int64_t kWindow = int64_t{8} << 20;
  PeerMemory lent(inbox.head.place);
  Letter& letter = *inbox.current;
  std::byte* to = bytes_of(letter.contents).data;
  for (; letter.moved < inbox.head.bytes;) {
    const int64_t bytes = std::min(kWindow, inbox.head.bytes - letter.moved);
    std::memcpy(to + letter.moved, lent.window(letter.moved, bytes), static_cast<size_t>(bytes));
    letter.moved += bytes;
  }
  board_.mailbox(from, board_.rank()).returned.fetch_add(1, std::memory_order_release);
}

void SharedMail::forget_returned(int to) {
  Lent& lent = lent_[static_cast<size_t>(to)];
  if (lent.copies.empty()) return;
  const int64_t returned =
      board_.mailbox(board_.rank(), to).returned.load(std::memory_order_acquire);
  for (; lent.returned < returned; ++lent.returned) lent.copies.pop_front();
}

// Hands complete letters that were kept to the receives that have started since.
bool SharedMail::match(Inbox& inbox, int64_t channel) {
  auto &awaited = inbox.awaited[channel], &kept = inbox.kept[channel];
  bool matched = false;
  while (!awaited.empty() && !kept.empty() && kept.front()->done) {
    Letter& receive = *awaited.front();
    const Bytes out = bytes_of(receive.contents);
    check(kept.front()->moved == out.size, "receive: got", kept.front()->moved, "bytes for",
          receive.contents.shape());
    if (out.size > 0)
      std::memcpy(out.data, kept.front()->contents.data(), static_cast<size_t>(out.size));
    receive.done = true;
    awaited.pop_front();
    kept.pop_front();
    matched = true;
  }
  return matched;
}

}  // namespace tessera
