// SPDX-License-Identifier: Apache-2.0
#include "trainer/model/expert_moves.h"

#include "kernels/copy.h"

namespace tessera {
namespace {

// The rows of one stack that this rank trains, in a tensor of their own and back.
class StackRows {
 public:
  StackRows(Stream& stream, ParameterStore& store, const Communicators& comms, Stack stack)
      : stream_(stream), store_(store), group_(comms.along(Axis::expert_data)) {
    for (int i = stack.first; i < stack.first + stack.count; ++i) rows_ += store.at(i).rows();
    for (const Piece& piece : store.pieces())
      if (piece.parameter >= stack.first && piece.parameter < stack.first + stack.count)
        pieces_.push_back(&piece);
    columns_ = store.at(stack.first).columns();
    const auto& slot = store.slots()[static_cast<size_t>(store.slot(stack))];
    // Stage 0 trains all rows on every data rank.
    cut_ = store.zero().stage == 0 ? Cut::owned(rows_, 1, 0) : store.cut(slot.unit);
  }
  int64_t rows() const { return rows_; }

  Tensor blank(DType dtype, int64_t rows) const {
    return Tensor(stream_.device(), dtype, {rows, columns_});
  }
  // role: Tensor(const Piece&)
  template <typename Role>
  Tensor whole(DType dtype, Role role) const {
    const Tensor all = blank(dtype, rows_);
    const Interval mine = my_rows();
    copy_pieces(all.row_slice(mine.first, mine.extent), role, false);
    if (cut_.ranks() > 1)
      group_.all_gather(stream_, all.row_slice(mine.first, mine.extent), cut_, all, "experts");
    return all;
  }
  template <typename Role>
  void store_back(const Tensor& all, Role role) const {
    const Interval mine = my_rows();
    copy_pieces(all.row_slice(mine.first, mine.extent), role, true);
  }

 private:
  Interval my_rows() const { return cut_.part(cut_.ranks() > 1 ? group_.rank() : 0); }
  template <typename Role>
  void copy_pieces(const Tensor& mine, Role role, bool to_pieces) const {
    int64_t row = 0;
    for (const Piece* piece : pieces_) {
      const Tensor part = mine.row_slice(row, piece->rows);
      if (to_pieces)
        copy(stream_, part, role(*piece));
      else
        copy(stream_, role(*piece), part);
      row += piece->rows;
    }
  }

  Stream& stream_;
  ParameterStore& store_;
  Communicator& group_;
  std::vector<const Piece*> pieces_;
  int64_t rows_ = 0, columns_ = 0;
  Cut cut_ = Cut::even(0, 1);
};

// What one rank sends: my places in the order of whom they go to and of their places there.
struct Moves {
  std::vector<int64_t> sent, received;          // places: where an expert was, where it will be
  std::vector<int64_t> sent_to, received_from;  // how many, by expert rank

  Moves(const ExpertPlacement& from, const ExpertPlacement& to, int64_t me)
      : sent_to(static_cast<size_t>(from.ranks()), 0),
        received_from(static_cast<size_t>(from.ranks()), 0) {
    const int64_t each = from.per_rank();
    const auto old_place = [&](int64_t expert) {
      return static_cast<int64_t>(from.place_of_expert()[static_cast<size_t>(expert)]);
    };
    for (int64_t rank = 0; rank < to.ranks(); ++rank)
      for (const int64_t expert : to.experts_of(rank))
        if (old_place(expert) / each == me) {
          sent.push_back(old_place(expert) % each);
          ++sent_to[static_cast<size_t>(rank)];
        }
    const std::vector<int64_t> mine = to.experts_of(me);
    for (int64_t rank = 0; rank < from.ranks(); ++rank)
      for (size_t place = 0; place < mine.size(); ++place)
        if (old_place(mine[place]) / each == rank) {
          received.push_back(static_cast<int64_t>(place));
          ++received_from[static_cast<size_t>(rank)];
        }
  }
  static Cut rows(std::vector<int64_t> counts, int64_t each) {
    for (int64_t& count : counts) count *= each;
    return Cut::of_counts(counts);
  }
};

}  // namespace

void move_experts(Stream& stream, ParameterStore& store, const Communicators& comms, Stack stack,
                  const ExpertPlacement& from, const ExpertPlacement& to) {
  Communicator& group = comms.along(Axis::expert);
  const StackRows rows(stream, store, comms, stack);
  const Moves moves(from, to, group.rank());
  const int64_t each = rows.rows() / from.per_rank();
  const DType wide = accumulation_type(store.compute_type());
  const auto move = [&](auto role) {
    const Tensor before = rows.whole(wide, role), after = rows.blank(wide, rows.rows());
    const Tensor out = rows.blank(wide, rows.rows()), in = rows.blank(wide, rows.rows());
    for (size_t i = 0; i < moves.sent.size(); ++i)
      copy(stream, before.row_slice(moves.sent[i] * each, each),
           out.row_slice(static_cast<int64_t>(i) * each, each));
    group.all_to_all(stream, out, Moves::rows(moves.sent_to, each), in,
                     Moves::rows(moves.received_from, each), "experts");
    for (size_t i = 0; i < moves.received.size(); ++i)
      copy(stream, in.row_slice(static_cast<int64_t>(i) * each, each),
           after.row_slice(moves.received[i] * each, each));
    rows.store_back(after, role);
  };
  move([&](const Piece& piece) { return store.master(piece); });
  for (int state = 0; state < store.num_states(); ++state)
    move([&](const Piece& piece) { return store.state(state, piece); });
}

}  // namespace tessera
