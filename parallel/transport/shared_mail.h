// SPDX-License-Identifier: Apache-2.0
// Messages between two ranks of a SharedBoard, beside its rounds. A pair has one ring of bytes, on
// which letters follow each other: channel, size, contents. Of a large letter only the place
// (parallel/transport/peer_memory.h) of a copy goes over the ring, so that the receiver can take it
// while the sender computes. A letter whose receive has not been started yet is kept here, so no
// letter blocks those behind it.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "parallel/transport/peer_memory.h"
#include "parallel/transport/shared_board.h"

namespace tessera {

struct Letter {
  int32_t channel = 0;
  Tensor contents;    // of the sender or the receiver; kept alive
  int64_t moved = 0;  // bytes on the ring or taken from it, the head included
  bool lent = false;  // of a sender: contents are a copy that the receiver reads where it lies
  bool done = false;
};

class SharedMail {
 public:
  explicit SharedMail(const SharedBoard& board);

  std::shared_ptr<Letter> send(int to, int channel, const Tensor& in);
  std::shared_ptr<Letter> receive(int from, int channel, const Tensor& out);
  // Moves what can be moved; true when something did.
  bool progress();

 private:
  struct Head {
    int64_t channel;
    int64_t bytes;
    MemoryPlace place;  // nowhere: the contents follow
  };
  // What has come from one rank, and what is on its way.
  struct Inbox {
    Head head{};
    int64_t head_bytes = 0;           // of the head that have been read
    std::shared_ptr<Letter> current;  // when the head is complete
    std::map<int64_t, std::deque<std::shared_ptr<Letter>>> awaited;  // channel -> receives
    std::map<int64_t, std::deque<std::shared_ptr<Letter>>> kept;     // came before their receive
  };
  // Large letters to one rank that it has not returned yet, and how many it has.
  struct Lent {
    std::deque<Tensor> copies;
    int64_t returned = 0;
  };
  bool push(int to);
  bool pull(int from);
  void begin(Inbox& inbox, int from);
  void read_lent(Inbox& inbox, int from);
  void forget_returned(int to);
  static bool match(Inbox& inbox, int64_t channel);

  const SharedBoard& board_;
  std::vector<std::deque<std::shared_ptr<Letter>>> outbox_;
  std::vector<Lent> lent_;
  std::vector<Inbox> inbox_;
  int64_t seen_ = -1;  // news
  bool busy_ = false;  // something of mine has not been tried yet
};

}  // namespace tessera
