// SPDX-License-Identifier: Apache-2.0
#include "trainer/model/parameter.h"

#include <algorithm>
#include <utility>

#include "kernels/base/random.h"
#include "kernels/copy.h"
#include "kernels/transfer.h"

namespace tessera {
namespace {

// Stacks start at multiples of this many elements: 64 bytes or more in every type.
constexpr int64_t kAlignElements = 32;
// Stack::first of a further use is kUseBase + its number.
constexpr int kUseBase = 1 << 30;

int64_t aligned(int64_t elements) {
  return (elements + kAlignElements - 1) / kAlignElements * kAlignElements;
}

size_t at_index(int index) {
  return static_cast<size_t>(index);
}

}  // namespace

Communicator& data_ranks(const Communicators& comms, ParameterGroup group) {
  return group == ParameterGroup::expert ? comms.along(Axis::expert_data) : comms.data();
}

int64_t Parameter::rows() const {
  return shard.box.extent.size() < 2 ? 1 : shard.box.extent[0];
}
int64_t Parameter::columns() const {
  return shard.box.extent.back();
}

// --- Declaring

Stack ParameterStore::add(std::vector<Parameter> members) {
  check(values_.empty(), "ParameterStore: add() after allocate()");
  Unit unit;
  unit.members = {count(), static_cast<int>(members.size())};
  unit.columns = members.front().columns();
  unit.group = members.front().group;
  unit.whole = {whole_elements_, 0};
  unit.chunks = {chunk_};
  for (Parameter& member : members) {
    check(member.columns() == unit.columns, "ParameterStore: a stack of", member.name,
          "has members of different widths");
    check(member.group == unit.group, "ParameterStore: a stack of", member.name,
          "has members of two data-parallel groups");
    member.index = count();
    member.range = {unit.whole.first + unit.whole.count, member.shard.box.size()};
    unit.whole.count += member.range.count;
    unit.rows += member.rows();
    unit_of_parameter_.push_back(num_units());
    parameters_.push_back(std::move(member));
  }
  whole_elements_ = aligned(unit.whole.first + unit.whole.count);
  slots_.push_back({.unit = num_units(), .use = 0});
  units_.push_back(std::move(unit));
  return units_.back().members;
}

Stack ParameterStore::add_use(Stack of) {
  const int unit = unit_of_parameter_.at(at_index(of.first));
  int use = 1;
  for (const Slot& slot : slots_) use += slot.unit == unit && slot.use > 0;
  slot_of_use_.push_back(static_cast<int>(slots_.size()));
  slots_.push_back({.unit = unit, .use = use});
  std::vector<int>& chunks = units_[at_index(unit)].chunks;
  if (std::find(chunks.begin(), chunks.end(), chunk_) == chunks.end()) chunks.push_back(chunk_);
  return {kUseBase + static_cast<int>(slot_of_use_.size()) - 1, of.count};
}

int ParameterStore::slot(Stack stack) const {
  if (stack.first >= kUseBase) return slot_of_use_.at(at_index(stack.first - kUseBase));
  const int unit = unit_of_parameter_.at(at_index(stack.first));
  for (size_t i = 0; i < slots_.size(); ++i)
    if (slots_[i].unit == unit && slots_[i].use == 0) return static_cast<int>(i);
  fail(ErrorKind::internal, "ParameterStore: a stack without a slot:", stack.first);
}

const Parameter& ParameterStore::first_parameter(int unit) const {
  return at(units_.at(at_index(unit)).members.first);
}

const ParameterStore::Unit& ParameterStore::unit_of(Stack stack) const {
  return units_[at_index(slots_[at_index(slot(stack))].unit)];
}

// --- Memory

// A stack's rows and columns before the tensor ranks cut it.
std::pair<int64_t, int64_t> ParameterStore::global_shape(const Unit& unit) const {
  int64_t rows = 0, columns = 0;
  for (int i = unit.members.first; i < unit.members.first + unit.members.count; ++i) {
    const std::vector<int64_t>& shape = at(i).shard.global_shape;
    rows += shape.size() < 2 ? 1 : shape.front();
    columns = shape.back();
  }
  return {rows, columns};
}

// Decides for every stack which data rank sums, and from stage 1 on keeps, which rows. All tensor
// ranks must decide alike, whose parts may differ by a row: by global sizes. Experts, which not all
// of them have alike, are dealt by a count of their own.
void ParameterStore::deal() {
  my_elements_ = zero_.stage == 0 ? whole_elements_ : 0;
  std::vector<int64_t> dense(at_index(zero_.ranks), 0), expert(at_index(zero_.expert_ranks), 0);
  for (Unit& unit : units_) deal_unit(unit, unit.group == ParameterGroup::expert ? expert : dense);
}

// load: elements that each data rank has so far.
void ParameterStore::deal_unit(Unit& unit, std::vector<int64_t>& load) {
  const bool keep_all = zero_.stage == 0;
  const auto ranks = static_cast<int>(load.size());
  const auto [rows_of_all, columns_of_all] = global_shape(unit);
  // Both ends of the pipeline must deal a tied table alike, whatever else they hold.
  const bool large = rows_of_all > 1 && rows_of_all * columns_of_all >= kMinCutElements;
  const bool by_rows = (large && !zero_.whole_stacks) || at(unit.members.first).on_both_ends;
  const auto least = std::min_element(load.begin(), load.end()) - load.begin();
  const auto cut = [&](int64_t rows) {
    return by_rows ? Cut::even(rows, ranks) : Cut::owned(rows, ranks, least);
  };
  unit.cut = cut(unit.rows);
  for (int rank = 0; rank < ranks; ++rank)
    load[at_index(rank)] += cut(rows_of_all).part(rank).extent * columns_of_all;
  const Interval rows =
      keep_all ? Interval{0, unit.rows} : unit.cut.part(zero_.rank_in(unit.group));
  unit.mine = keep_all ? unit.whole : FlatRange{my_elements_, rows.extent * unit.columns};
  if (!keep_all) my_elements_ += aligned(unit.mine.count);
  add_pieces(unit, rows);
}

void ParameterStore::add_pieces(const Unit& unit, const Interval& rows) {
  int64_t first_row = 0;  // of the member, in the stack
  for (int i = unit.members.first; i < unit.members.first + unit.members.count; ++i) {
    const Parameter& parameter = at(i);
    const int64_t begin = std::max(rows.first, first_row);
    const int64_t end = std::min(rows.first + rows.extent, first_row + parameter.rows());
    if (begin < end) {
      const bool flat = parameter.shard.box.extent.size() < 2;
      pieces_.push_back(
          {.parameter = i,
           .shard = flat ? parameter.shard : parameter.shard.rows(begin - first_row, end - begin),
           .rows = end - begin,
           .columns = unit.columns,
           .whole = {unit.whole.first + begin * unit.columns, (end - begin) * unit.columns},
           .mine = {unit.mine.first + (begin - rows.first) * unit.columns,
                    (end - begin) * unit.columns}});
    }
    first_row += parameter.rows();
  }
}

void ParameterStore::lay_out(DType compute, const ZeroSharding& zero) {
  check(zero.stage >= 0 && zero.stage <= 3 && zero.rank < zero.ranks, "ParameterStore: ZeRO stage",
        zero.stage, "rank", zero.rank, "of", zero.ranks);
  check(zero.expert_rank < zero.expert_ranks, "ParameterStore: expert data rank", zero.expert_rank,
        "of", zero.expert_ranks);
  check(pieces_.empty(), "ParameterStore: laid out twice");
  compute_ = compute;
  zero_ = zero;
  deal();
}

void ParameterStore::allocate_for_inference(Device device, DType compute) {
  lay_out(compute, {});
  allocate_values(device);
}

void ParameterStore::allocate_values(Device device) {
  Stream stream(device);
  const auto zeros = [&](DType dtype, int64_t elements, MemoryClass memory) {
    const Tensor flat(device, dtype, {1, std::max<int64_t>(1, elements)}, memory);
    fill(stream, 0, flat);
    return flat;
  };
  values_ =
      zeros(compute_, zero_.stage == 3 ? my_elements_ : whole_elements_, MemoryClass::weights);
  if (!shares_masters())
    masters_ = zeros(accumulation_type(compute_), my_elements_, MemoryClass::optimizer);
}

void ParameterStore::allocate(Device device) {
  allocate_values(device);
  const DType wide = accumulation_type(compute_);
  const auto flat = [&](int64_t elements, MemoryClass memory) {
    return Tensor(device, wide, {1, std::max<int64_t>(1, elements)}, memory);
  };
  const bool whole_grads = zero_.stage < 2;
  grads_ = flat(whole_grads ? whole_elements_ : my_elements_, MemoryClass::gradients);
  use_grads_.resize(slots_.size());
  for (size_t i = 0; i < slots_.size(); ++i) {
    const Unit& unit = units_[at_index(slots_[i].unit)];
    if (slots_[i].use > 0)
      use_grads_[i] =
          flat(whole_grads ? unit.whole.count : unit.mine.count, MemoryClass::gradients);
  }
  Stream stream(device);
  fill(stream, 0, grads_);
}

int ParameterStore::attach_state(std::string role) {
  check(!values_.empty(), "ParameterStore: state", role, "before allocate()");
  for (const RowState& other : states_)
    check(other.role != role, "ParameterStore: state", role, "is attached twice");
  const Tensor rows(values_.device(), accumulation_type(compute_),
                    {1, std::max<int64_t>(1, my_elements_)}, MemoryClass::optimizer);
  Stream stream(values_.device());
  fill(stream, 0, rows);
  states_.push_back({std::move(role), rows});
  return num_states() - 1;
}

void ParameterStore::initialize(uint64_t seed) {
  Stream stream(values_.device());
  for (const Piece& piece : pieces_) {
    const Parameter& parameter = at(piece.parameter);
    const Philox philox{seed, stream_named(parameter.name)};
    const std::vector<int64_t>& shape = parameter.shard.global_shape;
    const int64_t global_columns = shape.back();
    const Box& box = piece.shard.box;
    const int64_t first_row = shape.size() < 2 ? 0 : box.offset[0];
    const int64_t first_column = box.offset.back();
    write_from_host(stream, master(piece), [&](const Tensor& masters) {
#pragma omp parallel for
      for (int64_t row = 0; row < masters.rows(); ++row)
        for (int64_t column = 0; column < masters.columns(); ++column) {
          const auto index =
              static_cast<uint64_t>((first_row + row) * global_columns + first_column + column);
          const double draw =
              parameter.init_deviation == 0 ? 1.0 : parameter.init_deviation * philox.normal(index);
          if (masters.dtype() == DType::f64)
            masters.row<double>(row)[column] = static_cast<float>(draw);  // the same start as f32
          else
            masters.row<float>(row)[column] = static_cast<float>(draw);
        }
    });
  }
  round_masters(stream);
}

void ParameterStore::round_masters(Stream& stream) {
  if (shares_masters()) return;
  for (const Piece& piece : pieces_) cast(stream, master(piece), value(piece));
}

void ParameterStore::publish(Stream& stream, const Communicators& comms) {
  round_masters(stream);
  share_values(stream, comms);
}

Tensor ParameterStore::part(const Tensor& flat, const FlatRange& range, int64_t rows,
                            int64_t columns) const {
  return flat.column_slice(range.first, rows * columns).reshaped({rows, columns});
}

Tensor ParameterStore::my_values(const Unit& unit) const {
  const Interval rows = unit.cut.part(zero_.rank_in(unit.group));
  const FlatRange range =
      zero_.stage == 3 ? unit.mine : FlatRange{unit.whole.first + rows.first * unit.columns, 0};
  return part(values_, range, rows.extent, unit.columns);
}

std::unique_ptr<Pending> ParameterStore::start_gather(Stream& stream, const Communicators& comms,
                                                      const Unit& unit, const Tensor& whole) const {
  return data_ranks(comms, unit.group)
      .start_all_gather(stream, my_values(unit), unit.cut, whole, "weights");
}

void ParameterStore::share_values(Stream& stream, const Communicators& comms) {
  if (zero_.stage == 0 || zero_.stage == 3) return;
  std::vector<std::unique_ptr<Pending>> started;
  for (const Unit& unit : units_)
    started.push_back(
        start_gather(stream, comms, unit, part(values_, unit.whole, unit.rows, unit.columns)));
  for (const auto& pending : started) pending->wait();
}

void ParameterStore::gather_weights(Stream& stream, const Communicators& comms, int chunk) {
  if (zero_.stage < 3) return;
  std::vector<std::unique_ptr<Pending>> started;
  for (Unit& unit : units_) {
    if (std::find(unit.chunks.begin(), unit.chunks.end(), chunk) == unit.chunks.end()) continue;
    if (unit.holders++ > 0) continue;
    unit.gathered =
        Tensor(values_.device(), compute_, {unit.rows, unit.columns}, MemoryClass::weights);
    started.push_back(start_gather(stream, comms, unit, unit.gathered));
  }
  for (const auto& pending : started) pending->wait();
}

void ParameterStore::release_weights(int chunk) {
  if (zero_.stage < 3) return;
  for (Unit& unit : units_) {
    if (std::find(unit.chunks.begin(), unit.chunks.end(), chunk) == unit.chunks.end()) continue;
    check(unit.holders > 0, "ParameterStore: weights of chunk", chunk, "released twice");
    if (--unit.holders == 0) unit.gathered = {};
  }
}

// --- Layers

Tensor ParameterStore::value(Stack stack) const {
  const Unit& unit = unit_of(stack);
  if (zero_.stage < 3) return part(values_, unit.whole, unit.rows, unit.columns);
  check(unit.holders > 0,
        "ParameterStore: used before gather_weights():", at(unit.members.first).name);
  return unit.gathered;
}

ParameterStore::GradTarget ParameterStore::grad_target(Stack stack) {
  const int index = slot(stack);
  Slot& use = slots_[at_index(index)];
  if (!zero_.sums_each_micro()) return {whole_grad(index), std::exchange(use.held, true)};
  const bool held = !use.open.empty();
  const Unit& unit = units_[at_index(use.unit)];
  if (!held)
    use.open =
        Tensor(grads_.device(), grads_.dtype(), {unit.rows, unit.columns}, MemoryClass::gradients);
  return {use.open, held};
}

Tensor ParameterStore::grad(Stack stack) {
  const auto [tensor, accumulate] = grad_target(stack);
  Stream stream(grads_.device());
  if (!accumulate) fill(stream, 0, tensor);
  return tensor;
}

void ParameterStore::clear_grads() {
  for (Slot& use : slots_) use.held = false;
}

std::vector<bool> ParameterStore::held() const {
  std::vector<bool> all;
  for (const Slot& use : slots_) all.push_back(use.held);
  return all;
}

void ParameterStore::set_held(const std::vector<bool>& held) {
  for (size_t i = 0; i < slots_.size(); ++i) slots_[i].held = held.at(i);
}

// --- Reduction

Tensor ParameterStore::whole_grad(int slot) const {
  const Slot& use = slots_.at(at_index(slot));
  const Unit& unit = units_[at_index(use.unit)];
  if (use.use == 0) return part(grads_, unit.whole, unit.rows, unit.columns);
  return part(use_grads_[at_index(slot)], {0, unit.whole.count}, unit.rows, unit.columns);
}

void ParameterStore::complete_grad(int slot) {
  Stream stream(grads_.device());
  if (!std::exchange(slots_.at(at_index(slot)).held, true)) fill(stream, 0, whole_grad(slot));
}

Tensor ParameterStore::take_grad(int slot) {
  const Unit& unit = units_[at_index(slots_.at(at_index(slot)).unit)];
  if (slots_[at_index(slot)].open.empty()) {  // no layer touched it: zeros, as on the other ranks
    const Tensor zeros(grads_.device(), grads_.dtype(), {unit.rows, unit.columns},
                       MemoryClass::gradients);
    Stream stream(grads_.device());
    fill(stream, 0, zeros);
    return zeros;
  }
  return std::exchange(slots_[at_index(slot)].open, {});
}

Tensor ParameterStore::my_grad(int slot) const {
  const Slot& use = slots_.at(at_index(slot));
  const Unit& unit = units_[at_index(use.unit)];
  const Interval mine = unit.cut.part(zero_.rank_in(unit.group));
  if (zero_.stage < 2) return whole_grad(slot).row_slice(mine.first, mine.extent);
  const int64_t rows = mine.extent;
  if (use.use == 0) return part(grads_, unit.mine, rows, unit.columns);
  return part(use_grads_[at_index(slot)], {0, unit.mine.count}, rows, unit.columns);
}

// --- Optimizer, norms, checkpoints

Tensor ParameterStore::grad(const Piece& piece) const {
  return part(grads_, zero_.stage < 2 ? piece.whole : piece.mine, piece.rows, piece.columns);
}
Tensor ParameterStore::master(const Piece& piece) const {
  return shares_masters() ? value(piece) : part(masters_, piece.mine, piece.rows, piece.columns);
}
Tensor ParameterStore::value(const Piece& piece) const {
  return part(values_, zero_.stage == 3 ? piece.mine : piece.whole, piece.rows, piece.columns);
}
Tensor ParameterStore::state(int state, const Piece& piece) const {
  return part(states_.at(at_index(state)).rows, piece.mine, piece.rows, piece.columns);
}

}  // namespace tessera
