// SPDX-License-Identifier: Apache-2.0
#include "parallel/pipeline/executor.h"

#include <deque>
#include <utility>

#include "kernels/base/trace.h"
#include "parallel/section.h"

namespace tessera {
namespace {

// A tensor on its way; its address stays while it is, because `pending` looks at `tag`.
struct Parcel {
  Tensor tensor;
  std::string tag;
  std::unique_ptr<Pending> pending;  // none: it is here
};

std::string describe(const Message& message) {
  return (message.backward ? "gradients of stage " : "activations of stage ") +
         std::to_string(message.stage) + ", microbatch " + std::to_string(message.micro);
}

class Run {
 public:
  Run(const Plan& plan, int rank, PipelineStage& stage, Stream& stream, Communicator& pipeline)
      : plan_(plan),
        rank_(rank),
        stage_(stage),
        stream_(stream),
        pipeline_(pipeline),
        places_(places_of_stages(plan)),
        incoming_(slots()),
        made_(slots()) {
    check(pipeline.size() == plan.num_ranks() && pipeline.rank() == rank, "pipeline: rank", rank,
          "of a plan for", plan.num_ranks(), "runs as rank", pipeline.rank(), "of",
          pipeline.size());
  }

  void all() {
    const Schedule& schedule = plan_.ranks[static_cast<size_t>(rank_)];
    for (size_t i = 0; i < schedule.size(); ++i) {
      const Action& action = schedule[i];
      const Action weight_half{Op::backward_weight, action.chunk, action.micro};
      const bool whole = action.op == Op::backward_input && i + 1 < schedule.size() &&
                         schedule[i + 1] == weight_half;
      act(action, whole);
      if (whole) ++i;
      while (!sends_.empty() && sends_.front().pending->test()) sends_.pop_front();
    }
    for (Parcel& parcel : sends_) parcel.pending->wait();
  }

 private:
  void act(const Action& action, bool whole) {
    const auto [op, chunk, micro] = action;
    moved();
    const trace::Range range(stream_, is_compute(op) ? "compute" : "comm",
                             [&] { return to_string(action) + (whole ? " W" : ""); });
    switch (op) {
      case Op::forward: hand_on(action, stage_.forward(chunk, micro, input(action))); break;
      case Op::backward_input:
        hand_on(action, whole ? stage_.backward(chunk, micro, input(action))
                              : stage_.backward_input(chunk, micro, input(action)));
        break;
      case Op::backward_weight: stage_.backward_weight(chunk, micro); break;
      case Op::send_forward:
      case Op::send_backward: send(action); break;
      case Op::recv_forward:
      case Op::recv_backward: receive(action); break;
      case Op::gather_weights: stage_.gather_weights(chunk); break;
      case Op::release_weights: stage_.release_weights(chunk); break;
    }
  }

  // What enters a chunk, or has left it and waits for its send, by direction and microbatch.
  size_t slots() const {
    return static_cast<size_t>(2 * plan_.num_chunks(rank_) * plan_.num_micro);
  }
  size_t slot(bool backward, int chunk, int micro) const {
    return static_cast<size_t>((chunk * 2 + (backward ? 1 : 0)) * plan_.num_micro + micro);
  }

  // The stage that is `step` (1, -1) after a chunk of mine; null beyond the ends of the model.
  const StagePlace* neighbour(int chunk, int step) const {
    const int stage = plan_.stage(rank_, chunk) + step;
    return stage < 0 || stage >= plan_.num_stages() ? nullptr
                                                    : &places_[static_cast<size_t>(stage)];
  }

  Tensor input(const Action& action) {
    const bool backward = action.op == Op::backward_input;
    if (!neighbour(action.chunk, backward ? 1 : -1)) return {};
    Parcel& parcel = incoming_[slot(backward, action.chunk, action.micro)];
    if (parcel.pending) parcel.pending->wait();
    check(!parcel.tensor.empty(), "pipeline: rank", rank_, "has no input for", to_string(action));
    return std::exchange(parcel, {}).tensor;
  }

  // To the next chunk when it is mine, else to its send.
  void hand_on(const Action& action, Tensor made) {
    const bool backward = action.op == Op::backward_input;
    const StagePlace* to = neighbour(action.chunk, backward ? -1 : 1);
    if (!to) return;
    check(!made.empty(), "pipeline: rank", rank_, "made nothing in", to_string(action));
    if (to->rank == rank_)
      incoming_[slot(backward, to->chunk, action.micro)].tensor = std::move(made);
    else
      made_[slot(backward, action.chunk, action.micro)] = std::move(made);
  }

  void send(const Action& action) {
    const Message message = message_of(plan_, places_, rank_, action);
    sends_.push_back({std::exchange(made_[slot(message.backward, action.chunk, action.micro)], {}),
                      describe(message), nullptr});
    Parcel& parcel = sends_.back();
    parcel.pending = pipeline_.start_send(stream_, parcel.tensor, message.to.rank, channel(message),
                                          parcel.tag.c_str());
  }

  void receive(const Action& action) {
    const Message message = message_of(plan_, places_, rank_, action);
    Parcel& parcel = incoming_[slot(message.backward, action.chunk, action.micro)];
    parcel.tensor = stage_.boundary(action.micro);
    parcel.tag = describe(message);
    parcel.pending = pipeline_.start_recv(stream_, parcel.tensor, message.from.rank,
                                          channel(message), parcel.tag.c_str());
  }

  // One of its own for each message of a sender: small numbers, as MPI's tags must be.
  int channel(const Message& message) const {
    return (message.from.chunk * 2 + (message.backward ? 1 : 0)) * plan_.num_micro + message.micro;
  }

  const Plan& plan_;
  int rank_;
  PipelineStage& stage_;
  Stream& stream_;
  Communicator& pipeline_;
  std::vector<StagePlace> places_;
  std::vector<Parcel> incoming_;  // by slot
  std::vector<Tensor> made_;      // by slot
  std::deque<Parcel> sends_;      // started, oldest first
};

}  // namespace

void run(const Plan& plan, int rank, PipelineStage& stage, Stream& stream, Communicator& pipeline) {
  Run(plan, rank, stage, stream, pipeline).all();
}

}  // namespace tessera
