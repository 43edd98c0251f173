// SPDX-License-Identifier: Apache-2.0
// Parameters and where they lie. Layers declare parameters while they are built; allocate() then
// lays them out in flat buffers with one element order, so that the optimizer runs over long
// ranges. Parameters that a layer uses as one matrix lie together (a Stack). Under ZeRO
// (Rajbhandari et al., arXiv:1910.02054) the rows of every stack are dealt to the data ranks:
//
//   zero          0          1             2                       3
//   values        all        all           all                     mine; a chunk's while gathered
//   gradients     all        all           mine; a layer's while   as 2
//                                          it is reduced
//   masters       all        mine          mine                    mine
//
// An optimizer's state lies as masters do, with a buffer for each of its roles (attach_state()).
//
// Matrices of at least kMinCutElements, over all tensor ranks, are cut evenly by rows; smaller
// stacks are owned whole by the data rank that has the fewest elements so far. "Data ranks" are
// those of the stack's ParameterGroup: routed experts have their own. Not thread-safe.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernels/base/tensor.h"
#include "parallel/communicators.h"
#include "parallel/shard.h"

namespace tessera {

// Which ranks hold the same box of a parameter, beside the data ranks: each has a part of its
// gradient, and it is counted and saved once.
enum class Replication {
  none,             // the box is this rank's alone
  tensor,           // every rank of the tensor group (norms, whose input is cut by rows)
  tensor_replicas,  // neighbouring ranks that share a key/value head
};

// Which ranks train equal copies of a parameter, each on tokens of its own: its data-parallel
// group.
enum class ParameterGroup {
  dense,   // Communicators::data()
  expert,  // routed experts: along(Axis::expert_data)
};
Communicator& data_ranks(const Communicators& comms, ParameterGroup group);

struct FlatRange {
  int64_t first = 0;  // elements into a flat buffer
  int64_t count = 0;
};

struct Parameter {
  std::string name;           // Hugging Face's, with global layer numbers
  ShardSpec shard;            // the box of the global tensor that this stage and tensor rank holds
  bool decay = true;          // weight decay applies
  double init_deviation = 0;  // normal(0, deviation) by global element index; 0: all ones
  Replication replication = Replication::none;
  ParameterGroup group = ParameterGroup::dense;
  // The model's first and last stage hold a copy each (a tied head): their gradients are summed,
  // and only the first stage's copy is counted and saved.
  bool on_both_ends = false;
  bool primary = true;  // this copy is counted and saved
  int index = 0;        // place in the store
  FlatRange range;      // elements of the whole layout

  // (rows, columns) of my box; one-dimensional parameters are (1, n).
  int64_t rows() const;
  int64_t columns() const;
};

// Several parameters that lie one after another and are used as one matrix (q, k and v; gate and
// up). They have equal columns; the matrix has the sum of their rows.
struct Stack {
  int first = 0;  // index of the first parameter, or kUseBase + number of a further use
  int count = 1;
};

// The rows of a parameter that this rank trains: all of them, or its share under ZeRO.
struct Piece {
  int parameter = 0;
  ShardSpec shard;   // its box of the global tensor
  int64_t rows = 0;  // one-dimensional parameters: 1
  int64_t columns = 0;
  FlatRange whole;  // where it lies in a buffer of all rows
  FlatRange mine;   // where it lies in a buffer of my rows
};

// How the data ranks share the work of one ZeRO stage.
struct ZeroSharding {
  int stage = 0;
  int rank = 0;  // of the dense parameters' data ranks
  int ranks = 1;
  bool layout_free = false;  // docs/numerics.md
  int expert_rank = 0;       // of the experts'
  int expert_ranks = 1;
  // Each stack is owned whole by one data rank, for an optimizer that needs matrices whole; those
  // on both ends of the pipeline are cut by rows all the same, so that both deal them alike.
  bool whole_stacks = false;

  int rank_in(ParameterGroup group) const {
    return group == ParameterGroup::expert ? expert_rank : rank;
  }
  int ranks_in(ParameterGroup group) const {
    return group == ParameterGroup::expert ? expert_ranks : ranks;
  }

  // Whether gradients are summed over the data ranks inside each microbatch.
  bool sums_each_micro() const { return stage >= 2 || layout_free; }
};

class ParameterStore {
 public:
  static constexpr int64_t kMinCutElements = 65536;

  // --- Declaring; REQUIRES before allocate(). Columns of a stack's members are equal.
  void begin_chunk(int chunk) { chunk_ = chunk; }  // what follows belongs to this model chunk
  Stack add(std::vector<Parameter> members);
  Stack add(Parameter parameter) { return add(std::vector<Parameter>{std::move(parameter)}); }
  // A second use of a parameter (a tied head) with a gradient of its own, added to the first use's
  // in a fixed order once after the last microbatch (docs/numerics.md).
  Stack add_use(Stack of);

  // --- Memory. compute: the type that layers read. Everything else is accumulation_type.
  // Decides which rows are mine: pieces() are known, there is no memory yet.
  void lay_out(DType compute, const ZeroSharding& zero);
  // REQUIRES lay_out(). Gradients are zeros.
  void allocate(Device device);
  void allocate(Device device, DType compute, const ZeroSharding& zero = {}) {
    lay_out(compute, zero);
    allocate(device);
  }
  // Values and masters only: nothing is trained.
  void allocate_for_inference(Device device, DType compute);
  void initialize(uint64_t seed);  // masters drawn on the host; then publish()
  // Values = masters rounded to the compute type, on all data ranks.
  void publish(Stream& stream, const Communicators& comms);
  // After the optimizer wrote value() of the pieces: the other ranks' rows. Nothing for stages
  // 0, 3.
  void share_values(Stream& stream, const Communicators& comms);
  // Stage 3: the values of all stacks that a chunk uses exist between the two. Calls may nest.
  void gather_weights(Stream& stream, const Communicators& comms, int chunk);
  void release_weights(int chunk);

  // --- What layers see: (rows, columns).
  Tensor value(Stack stack) const;  // compute type
  // The gradient of this use, of accumulation type: holding nothing yet, to be written as a whole,
  // or, with accumulate, to be added to. The first microbatch saves a pass over it that way.
  struct GradTarget {
    Tensor tensor;
    bool accumulate = false;
  };
  GradTarget grad_target(Stack stack);
  Tensor grad(Stack stack);  // to be added to, zeros where it held nothing
  void clear_grads();        // they hold nothing
  // Of each slot, whether it holds something (stages 0, 1): before and after passes that are done
  // again without asking (micro_graphs.h).
  std::vector<bool> held() const;
  void set_held(const std::vector<bool>& held);

  // --- What reduces gradients sees. A slot is one use of one stack.
  struct Slot {
    int unit = 0;       // stacks in the order of add()
    int use = 0;        // 0: the first
    bool held = false;  // stages 0, 1: whether a microbatch's gradient is there
    Tensor open{};      // where each microbatch is summed: its gradient at hand
  };
  int slot(Stack stack) const;
  const std::vector<Slot>& slots() const { return slots_; }
  int num_units() const { return static_cast<int>(units_.size()); }
  const Cut& cut(int unit) const { return units_.at(static_cast<size_t>(unit)).cut; }
  ParameterGroup group(int unit) const { return units_.at(static_cast<size_t>(unit)).group; }
  const Parameter& first_parameter(int unit) const;
  void complete_grad(int slot);       // stages 0, 1: zeros if no microbatch gave any
  Tensor whole_grad(int slot) const;  // stages 0, 1: all rows
  Tensor my_grad(int slot) const;     // the rows that the cut deals to me
  Tensor take_grad(int slot);         // all rows of one microbatch, given up (sums_each_micro)

  // --- What the optimizer, norms and checkpoints see. Pieces of one unit are neighbours.
  const std::vector<Piece>& pieces() const { return pieces_; }
  Tensor grad(const Piece& piece) const;  // reduced; (rows, columns)
  Tensor master(const Piece& piece) const;
  Tensor value(const Piece& piece) const;
  // Attaches a tensor of zeros beside each master, of its shape and type, that an optimizer keeps
  // there. It is saved under `role`, and moves between ranks, with its rows. After allocate(), once
  // for each role; returns the number of the state.
  int attach_state(std::string role);
  int num_states() const { return static_cast<int>(states_.size()); }
  const std::string& state_role(int state) const {
    return states_.at(static_cast<size_t>(state)).role;
  }
  Tensor state(int state, const Piece& piece) const;

  const ZeroSharding& zero() const { return zero_; }
  int count() const { return static_cast<int>(parameters_.size()); }
  const Parameter& at(int index) const { return parameters_.at(static_cast<size_t>(index)); }
  // Of equal shape: an expert that comes to this rank in another's place (expert_moves.h).
  void rename(int index, std::string name) {
    parameters_.at(static_cast<size_t>(index)).name = std::move(name);
  }
  const std::vector<Parameter>& all() const { return parameters_; }
  DType compute_type() const { return compute_; }

 private:
  struct Unit {
    Stack members;
    ParameterGroup group = ParameterGroup::dense;
    int64_t rows = 0;  // one-dimensional: 1
    int64_t columns = 0;
    FlatRange whole;
    FlatRange mine;
    Cut cut = Cut::even(0, 1);
    std::vector<int> chunks;  // that use it
    int holders = 0;          // gather_weights() without their release
    Tensor gathered;          // stage 3, while held
  };
  std::pair<int64_t, int64_t> global_shape(const Unit& unit) const;
  void deal();  // rows to data ranks
  void deal_unit(Unit& unit, std::vector<int64_t>& load);
  void add_pieces(const Unit& unit, const Interval& rows);
  void allocate_values(Device device);
  void round_masters(Stream& stream);
  const Unit& unit_of(Stack stack) const;
  bool shares_masters() const { return compute_ == accumulation_type(compute_); }
  Tensor part(const Tensor& flat, const FlatRange& range, int64_t rows, int64_t columns) const;
  Tensor my_values(const Unit& unit) const;
  std::unique_ptr<Pending> start_gather(Stream& stream, const Communicators& comms,
                                        const Unit& unit, const Tensor& whole) const;

  std::vector<Parameter> parameters_;
  std::vector<Unit> units_;
  std::vector<Slot> slots_;
  std::vector<int> unit_of_parameter_;
  std::vector<int> slot_of_use_;
  std::vector<Piece> pieces_;
  int chunk_ = 0;
  DType compute_ = DType::f32;
  ZeroSharding zero_;
  int64_t whole_elements_ = 0;
  int64_t my_elements_ = 0;
  // Flat, (1, elements): all rows or mine, as the table above says.
  Tensor values_, grads_, masters_;
  struct RowState {
    std::string role;
    Tensor rows;  // as masters_
  };
  std::vector<RowState> states_;
  std::vector<Tensor> use_grads_;  // of the slots whose use is not the first
};

}  // namespace tessera
