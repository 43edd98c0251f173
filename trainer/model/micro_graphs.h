// SPDX-License-Identifier: Apache-2.0
// The forward and backward pass of a microbatch, queued on a GPU by one call. A rank that holds the
// whole model runs the same kernels on the same shapes for every microbatch of a step but the last,
// in whose backward pass reductions start (gradients.h). So they are recorded once (kernels/base/
// graph.h) and launched from then on: the same kernels in the same order, the same bits.
//
// What a recording knows by value is its Key; a microbatch with another one (prediction's weight
// has changed, say) runs as usual the first time and is recorded the second time; the kMost used
// last are kept. Its tokens are copied to where the recording reads them. Activations of all passes
// lie in memory of their own (kernels/base/kept_memory.h), so recordings need no more of it than
// one microbatch does. While a trace is recorded, or the host looks at what routers choose, kernels
// are queued one by one. A recording counts the choices of its microbatch (routing.h), and so does
// every launch of it: each microbatch passes here once a step. Not thread-safe.
#pragma once

#include <list>
#include <map>
#include <optional>

#include "kernels/base/graph.h"
#include "kernels/base/kept_memory.h"
#include "trainer/model/stage.h"

namespace tessera {

class MicroGraphs : public PipelineStage {
 public:
  // Whether a step can have microbatches that are recorded: on a device that records, the plan
  // takes one after another through a model that is whole here (F0 B0 W0 F1 ..), without a
  // collective inside a microbatch, or a group of one that goes through the host (verify's
  // transport=mpi), and without experts in f32, whose numbers of rows the host reads.
  static bool possible(const LayerContext& context, const std::map<int, Plan>& plans);

  // stage, context.store: outlive it. REQUIRES possible().
  MicroGraphs(LayerContext context, Stage& stage);

  Tensor forward(int chunk, int micro, const Tensor& x) override;
  Tensor backward_input(int chunk, int micro, const Tensor& dy) override;
  void backward_weight(int chunk, int micro) override;
  Tensor backward(int chunk, int micro, const Tensor& dy) override;
  Tensor boundary(int micro) override { return stage_.boundary(micro); }
  void gather_weights(int chunk) override { stage_.gather_weights(chunk); }
  void release_weights(int chunk) override { stage_.release_weights(chunk); }

 private:
  static constexpr size_t kMost = 8;
  struct Key {
    int64_t num_sequences;
    int64_t sequence_length;
    bool document_starts;
    double dloss;
    double dsequence;
    double mtp_loss_weight;
    std::vector<bool> held;  // ParameterStore::held(), before
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct Recorded {
    Key key;
    Micro micro{};                 // that the graph reads
    std::optional<Graph> graph{};  // none: seen once
    std::vector<bool> held_after{};
  };
  Recorded* repeated(int micro);
  void record(Recorded& one, int micro);
  void check_memory_is_free() const;

  LayerContext context_;
  Stage& stage_;
  KeptMemory memory_;
  std::list<Recorded> recorded_;  // the one used last first
  Recorded* next_ = nullptr;      // whose forward pass was asked for
};

}  // namespace tessera
