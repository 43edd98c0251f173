// SPDX-License-Identifier: Apache-2.0
#include "parallel/strategy/expert_parallel.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "kernels/base/trace.h"
#include "kernels/permute.h"
#include "kernels/transfer.h"

namespace tessera {
namespace {

// Everybody's counts, and where each source's rows stand in the list of an expert rank: expert
// after expert, and within one by expert rank, then expert_tensor rank of the source.
class Lists {
 public:
  // counts: (expert_tensor ranks * expert ranks, E)
  Lists(const Tensor& counts, int64_t experts_ranks, int64_t tensor_ranks)
      : counts_(counts.as<int64_t>()),
        experts_(counts.columns()),
        ranks_(experts_ranks),
        tensor_ranks_(tensor_ranks) {}

  int64_t per_rank() const { return experts_ / ranks_; }
  int64_t count(int64_t rank, int64_t tensor, int64_t place) const {
    return counts_[(tensor * ranks_ + rank) * experts_ + place];
  }
  int64_t length(int64_t rank) const {  // of the list of an expert rank
    int64_t sum = 0;
    each_segment(rank, [&](int64_t, int64_t, int64_t, Interval all) { sum += all.extent; });
    return sum;
  }
  // Calls visit(place, source rank, source tensor rank, rows in the list) in the list's order.
  template <typename Visit>
  void each_segment(int64_t rank, Visit visit) const {
    int64_t next = 0;
    for (int64_t place = rank * per_rank(); place < (rank + 1) * per_rank(); ++place)
      for (int64_t source = 0; source < ranks_; ++source)
        for (int64_t tensor = 0; tensor < tensor_ranks_; ++tensor) {
          const int64_t rows = count(source, tensor, place);
          visit(place, source, tensor, Interval{next, rows});
          next += rows;
        }
  }

 private:
  const int64_t* counts_;
  int64_t experts_, ranks_, tensor_ranks_;
};

// How many of the rows lie before `end`.
int64_t before(const Interval& rows, int64_t end) {
  return std::clamp<int64_t>(end - rows.first, 0, rows.extent);
}

bool in_order(const std::vector<int32_t>& order) {
  for (size_t i = 0; i < order.size(); ++i)
    if (order[i] != static_cast<int32_t>(i)) return false;
  return true;
}

// One round: rows [first, end) of every expert rank's list.
struct Planner {
  const Lists& lists;
  int64_t rank, ranks, tensor, tensors;  // me
  int64_t first, end;

  void plan_sent(ExpertRound& round) const {
    std::vector<int64_t> counts;
    int64_t start = 0;  // of the slots that go to this rank
    for (int64_t to = 0; to < ranks; ++to) {
      int64_t earlier = 0, upto = 0, all = 0;
      lists.each_segment(to, [&](int64_t, int64_t source, int64_t part, Interval rows) {
        if (source != rank || part != tensor) return;
        earlier += before(rows, first);
        upto += before(rows, end);
        all += rows.extent;
      });
      round.sent.push_back({start + earlier, upto - earlier});
      counts.push_back(upto - earlier);
      start += all;
    }
    round.sent_cut = Cut::of_counts(counts);
  }

  // What arrives: by expert_tensor rank, then expert rank, then expert; what is wanted: offsets.
  void plan_received(Stream& stream, ExpertRound& round) const {
    const auto sources = static_cast<size_t>(ranks * tensors);
    std::vector<int64_t> of_source(sources, 0);
    const auto index = [&](int64_t source, int64_t part) {
      return static_cast<size_t>(part * ranks + source);
    };
    const auto now = [&](Interval rows) { return before(rows, end) - before(rows, first); };
    lists.each_segment(rank, [&](int64_t, int64_t source, int64_t part, Interval rows) {
      of_source[index(source, part)] += now(rows);
    });
    std::vector<int64_t> received, gathered(static_cast<size_t>(tensors), 0), next(sources, 0);
    for (int64_t source = 0; source < ranks; ++source)
      received.push_back(of_source[index(source, tensor)]);
    for (size_t i = 0; i < sources; ++i) {
      gathered[i / static_cast<size_t>(ranks)] += of_source[i];
      if (i + 1 < sources) next[i + 1] = next[i] + of_source[i];
    }
    std::vector<int32_t> order;
    order.reserve(
        static_cast<size_t>(std::accumulate(gathered.begin(), gathered.end(), int64_t{0})));
    std::vector<int64_t> offsets = {0};
    int64_t current = rank * lists.per_rank();
    lists.each_segment(rank, [&](int64_t place, int64_t source, int64_t part, Interval rows) {
      for (; current < place; ++current) offsets.push_back(size(order));
      int64_t& from = next[index(source, part)];
      const int64_t count = now(rows);
      order.resize(order.size() + static_cast<size_t>(count));
      std::iota(order.end() - count, order.end(), static_cast<int32_t>(from));
      from += count;
    });
    for (; current < (rank + 1) * lists.per_rank(); ++current) offsets.push_back(size(order));
    round.offsets = uploaded(stream, offsets);
    round.received_cut = Cut::of_counts(received);
    round.gathered_cut = Cut::of_counts(gathered);
    if (in_order(order)) return;
    std::vector<int32_t> inverse(order.size());
    for (size_t i = 0; i < order.size(); ++i)
      inverse[static_cast<size_t>(order[i])] = static_cast<int32_t>(i);
    round.order = uploaded(stream, order);
    round.inverse = uploaded(stream, inverse);
  }
  static int64_t size(const std::vector<int32_t>& order) {
    return static_cast<int64_t>(order.size());
  }
};

Tensor reordered(Stream& stream, const Tensor& rows, const Tensor& order) {
  if (order.empty()) return rows;
  const Tensor out(rows.device(), rows.dtype(), {rows.rows(), rows.columns()});
  gather_rows(stream, rows, order, 1, out);
  return out;
}

// Everything at once, in the order in which it is: what a Planner finds for one rank, whatever the
// counts are.
ExpertRound whole_round(const Tensor& offsets, int64_t slots) {
  const Cut all = Cut::even(slots, 1);
  return {.sent = {{0, slots}},
          .sent_cut = all,
          .received_cut = all,
          .gathered_cut = all,
          .offsets = offsets,
          .order = {},
          .inverse = {}};
}

}  // namespace

// Whether this rank receives no more than its buffer holds, whatever the counts are.
bool ExpertParallel::takes_all(double buffer) const {
  return expert_->size() == 1 && expert_tensor_->size() == 1 && buffer >= 1;
}

// (E) i64, in the host's memory.
Tensor ExpertParallel::counts(const Tensor& offsets, int64_t slots) const {
  const int64_t places = offsets.size() - 1;
  const Tensor counts(Device{}, DType::i64, {places});
  if (stream_->device().kind == Device::Kind::dry) {
    for (int64_t place = 0; place < places; ++place)
      counts.as<int64_t>()[place] = even_part(slots, place, places).extent;
    return counts;
  }
  const Tensor host = on_host(*stream_, offsets);
  const auto* begin = host.as<int64_t>();
  std::transform(begin + 1, begin + places + 1, begin, counts.as<int64_t>(), std::minus<>());
  return counts;
}

// (expert_tensor ranks * expert ranks, E), on every rank of both groups.
Tensor ExpertParallel::all_counts(const Tensor& counts) const {
  const int64_t ranks = expert_->size(), tensors = expert_tensor_->size(), experts = counts.size();
  const Tensor along(Device{}, DType::i64, {ranks, experts});
  const Tensor all(Device{}, DType::i64, {tensors * ranks, experts});
  expert_->all_gather(*stream_, counts.flat(), Cut::even(ranks, ranks), along, "expert counts");
  expert_tensor_->all_gather(*stream_, along, Cut::even(tensors * ranks, tensors), all,
                             "expert counts");
  return all;
}

ExpertRoutes ExpertParallel::routes(const Tensor& offsets, int64_t slots, double buffer) const {
  if (takes_all(buffer)) return {whole_round(offsets, slots)};
  const trace::Range range(*stream_, "comm", [] { return "all-to-all"; });
  const Tensor all = all_counts(counts(offsets, slots));
  const Lists lists(all, expert_->size(), expert_tensor_->size());
  int64_t total = 0, longest = 0;
  for (int64_t rank = 0; rank < expert_->size(); ++rank) {
    total += lists.length(rank);
    longest = std::max(longest, lists.length(rank));
  }
  const double mean = static_cast<double>(total) / static_cast<double>(expert_->size());
  const auto most = std::max<int64_t>(1, static_cast<int64_t>(std::ceil(buffer * mean)));
  const int64_t rounds = std::max<int64_t>(1, (longest + most - 1) / most);
  ExpertRoutes routes(static_cast<size_t>(rounds));
  for (int64_t i = 0; i < rounds; ++i) {
    const Planner planner{
        lists,    expert_->rank(), expert_->size(), expert_tensor_->rank(), expert_tensor_->size(),
        i * most, (i + 1) * most};
    planner.plan_sent(routes[static_cast<size_t>(i)]);
    planner.plan_received(*stream_, routes[static_cast<size_t>(i)]);
  }
  return routes;
}

Tensor ExpertParallel::dispatch(const ExpertRound& round, const Tensor& rows,
                                const char* tag) const {
  const trace::Range range(*stream_, "comm", [] { return "all-to-all"; });
  const auto empty = [&](int64_t count) {
    return Tensor(rows.device(), rows.dtype(), {count, rows.columns()});
  };
  const Tensor received = empty(round.received_cut.rows());
  expert_->all_to_all(*stream_, rows, round.sent_cut, received, round.received_cut, tag);
  if (expert_tensor_->size() == 1) return reordered(*stream_, received, round.order);
  const Tensor gathered = empty(round.gathered_cut.rows());
  expert_tensor_->all_gather(*stream_, received, round.gathered_cut, gathered, tag);
  return reordered(*stream_, gathered, round.order);
}

Tensor ExpertParallel::combine(const ExpertRound& round, const Tensor& rows,
                               const char* tag) const {
  const trace::Range range(*stream_, "comm", [] { return "all-to-all"; });
  const auto empty = [&](int64_t count) {
    return Tensor(rows.device(), rows.dtype(), {count, rows.columns()});
  };
  Tensor mine = reordered(*stream_, rows, round.inverse);
  if (expert_tensor_->size() > 1) {
    const Tensor summed = empty(round.received_cut.rows());
    expert_tensor_->reduce_scatter(*stream_, mine, round.gathered_cut, summed, Reduce::sum, tag);
    mine = summed;
  }
  const Tensor out = empty(round.sent_cut.rows());
  expert_->all_to_all(*stream_, mine, round.received_cut, out, round.sent_cut, tag);
  return out;
}

}  // namespace tessera
