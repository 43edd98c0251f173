// SPDX-License-Identifier: Apache-2.0
#include "kernels/base/graph.h"

#include <utility>

#include "kernels/base/check.h"
#include "kernels/cuda_plugin.h"

namespace tessera {
namespace {

thread_local bool recording = false;

// What a queue records while this lives, or, where that failed, nothing.
class Recording {
 public:
  Recording(Accelerator& accelerator, Accelerator::Queue* queue)
      : accelerator_(accelerator), queue_(queue) {
    refuse_while_recording("recording");
    accelerator_.begin_recording(queue_);
    recording = true;
  }
  Accelerator::Graph* end() {
    recording = false;
    return accelerator_.end_recording(std::exchange(queue_, nullptr));
  }
  ~Recording() {
    if (queue_ == nullptr) return;
    try {
      accelerator_.destroy(end());
    } catch (const Error&) {
      return;  // the error on its way here is the one that tells why
    }
  }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

 private:
  Accelerator& accelerator_;
  Accelerator::Queue* queue_;
};

}  // namespace

void refuse_while_recording(const char* what) {
  check(!recording, "Graph: work that is recorded to be done again asked for", what,
        "(use run.cuda_graphs=false and report this)");
}

Graph::Graph(Stream& stream, const std::function<void()>& work) {
  check(possible(stream.device()), "Graph: nothing can be recorded on", name(stream.device()));
  if (stream.device().plays_gpu()) {
    work();
    return;
  }
  Accelerator& accelerator = cuda_accelerator();
  Recording recorded(accelerator, stream.queue());
  work();
  graph_ = {recorded.end(),
            [&accelerator](Accelerator::Graph* graph) { accelerator.destroy(graph); }};
}

void Graph::launch(Stream& stream) const {
  refuse_while_recording("another Graph");
  if (graph_) cuda_accelerator().launch(graph_.get(), stream.queue());
}

}  // namespace tessera
