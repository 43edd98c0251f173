// SPDX-License-Identifier: Apache-2.0
// Times the parts of a step by the device's clock, since the host may be ahead of it. Of several
// microbatches, those before the last are one part: a graph has both of their passes.
#pragma once

#include <string>
#include <vector>

#include "kernels/base/stream.h"
#include "trainer/step.h"

namespace tessera {

class PartTimer : public StepProbe, public PipelineStage {
 public:
  struct Part {
    std::string name;
    Event start, end;
    std::vector<double> seconds = {};  // one of each step
  };

  static constexpr const char* kBeforeTheLast = "microbatches before the last";

  PartTimer(Stream& stream, int num_micro) : stream_(stream), num_micro_(num_micro) {}
  const std::vector<Part>& parts() const { return parts_; }
  void forget() { parts_.clear(); }
  void begin_step() { next_ = 0; }
  void end_step();  // The device must have done the step.

  void around(StepEvent event, const std::function<void()>& work) override;
  // Stands before the step's own stage from now on.
  PipelineStage& passes(PipelineStage& own) override;

  Tensor forward(int chunk, int micro, const Tensor& x) override;
  Tensor backward(int chunk, int micro, const Tensor& dy) override;
  Tensor backward_input(int chunk, int micro, const Tensor& dy) override;
  void backward_weight(int chunk, int micro) override;
  Tensor boundary(int micro) override;
  void gather_weights(int chunk) override;
  void release_weights(int chunk) override;

 private:
  void start(const char* name);
  void end();

  Stream& stream_;
  int num_micro_;
  PipelineStage* own_ = nullptr;
  std::vector<Part> parts_;
  size_t next_ = 0;
};

}  // namespace tessera
