// SPDX-License-Identifier: Apache-2.0
// The memory that the ranks of one group on one node share, and the only way they agree on who may
// touch what: rounds. In a round each rank writes its own stage, arrives, and when all have
// arrived reads the others' stages. Stages are two, used in turn: whoever arrives at round r + 1
// has read round r, so a rank that has passed round r + 1 may write the stage of round r again.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "kernels/base/shared_segment.h"
#include "parallel/communicator.h"
#include "parallel/transport/doorbell.h"

namespace tessera {

// What a rank says of the collective it is in, so that two different ones are noticed.
struct Announcement {
  int32_t operation = 0;
  int64_t bytes = 0;
  friend bool operator==(const Announcement&, const Announcement&) = default;
};

// Bytes on their way from one rank to another: a ring with one writer and one reader, and how many
// letters that were lent beside the ring the reader has done with.
struct Mailbox {
  alignas(64) std::atomic<int64_t> written{0};
  alignas(64) std::atomic<int64_t> read{0};
  std::atomic<int64_t> returned{0};
};

class SharedBoard {
 public:
  // Collective over `group` (of another transport), whose ranks are on one node: doorbells[p] is
  // rank p's. Throws Error{capacity} when this rank cannot map the memory; then the others must
  // not use theirs.
  SharedBoard(Communicator& group, std::vector<Doorbell*> doorbells);

  int rank() const { return rank_; }
  int size() const { return size_; }
  int64_t stage_bytes() const { return stage_bytes_; }
  int64_t result_bytes() const { return result_bytes_; }
  int64_t mailbox_bytes() const { return mailbox_bytes_; }

  std::byte* stage(int rank, int64_t round) const;
  std::byte* result(int rank, int64_t round) const;  // a small second stage
  Mailbox& mailbox(int from, int to) const;
  std::byte* letters(int from, int to) const;  // the ring of that mailbox

  void arrive(int64_t round, const Announcement& announcement);
  bool complete(int64_t round) const;  // all have arrived
  Announcement announced(int rank, int64_t round) const;
  // The ranks behind me. From any thread.
  std::vector<int> missing() const;

  // Counts what happened to the mailboxes of a rank, and wakes it.
  void tell(int rank) const;
  int64_t news() const;

 private:
  struct Line;
  struct Header;
  Line& line(int rank) const;
  static int64_t total_bytes(int size);

  int rank_, size_;
  int64_t stage_bytes_, result_bytes_, mailbox_bytes_;
  std::vector<Doorbell*> doorbells_;
  std::unique_ptr<SharedSegment> segment_;
};

// Collective over `group`, on one node: its rank 0 makes zeroed memory and the others map it.
// Throws Error{capacity} on the ranks that cannot, after all have tried.
std::unique_ptr<SharedSegment> share_segment(Communicator& group, int64_t bytes);

}  // namespace tessera
