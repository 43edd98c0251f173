// SPDX-License-Identifier: Apache-2.0
// The numbers of a step where the device keeps them (kernels/step_controls.h), and their way to the
// host. measure() queues the sums, the one reduction over ranks and the optimizer's controls;
// send() queues the copy to the host; read() waits for it. Between send() and read() one more step
// may be measured and sent, so the host can learn a step's numbers while the next one runs.
//
// All ranks call measure() in the same order. One thread drives it.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "kernels/step_controls.h"
#include "parallel/communicators.h"
#include "trainer/model/parameter.h"
#include "trainer/model/stage.h"
#include "trainer/optim/loss_scaler.h"

namespace tessera {

class StepNumbers {
 public:
  // After store.allocate(), whose gradients it keeps. The others outlive it. more: what else the
  // host is to know of each step, dense.
  StepNumbers(Stream& stream, const ParameterStore& store, const Communicators& comms,
              std::vector<Tensor> more);
  ~StepNumbers();  // waits for what is on its way
  StepNumbers(const StepNumbers&) = delete;
  StepNumbers& operator=(const StepNumbers&) = delete;

  // What stays on the device from step to step: updates applied so far, and the loss scale.
  void set(int64_t updates, const LossScaleState& scale);
  void set_sequence_targets(double mean);  // of the sequences of the step that begins
  // Of what is queued from here on, Micro::loss_scale and sequence_scale.
  Tensor loss_scale() const { return numbers_.column_slice(kScale, 1); }
  Tensor sequence_scale() const { return numbers_.column_slice(kScale, 2); }
  // counts: this rank's, of all of its group that know the same. choices: kNumChoices values for
  // each number of updates that the steps under way may come to, from rules.updates_known on.
  void measure(const Stage& stage, std::array<int64_t, kNumStepCounts> counts,
               const StepRules& rules, const std::vector<double>& choices);
  Tensor controls() const { return numbers_.column_slice(0, kNumControls); }

  // Which of two places in the host's memory the numbers of the step go to.
  int send();

  struct Values {
    std::array<double, kNumStepNumbers> number{};
    // The first parameter, in the order of the backward pass, with a gradient that is not finite,
    // of those that this rank counts; -1: none.
    int first_bad = -1;
    std::vector<Tensor> more{};  // in the host's memory, until the second send() after this

    double operator[](int index) const { return number[static_cast<size_t>(index)]; }
    LossScaleState loss_scale() const;  // of the next step
    bool applied() const { return number[kApply] != 0; }
    int64_t count(StepCount which) const {
      return static_cast<int64_t>(number[static_cast<size_t>(kCounts) + which]);
    }
  };
  Values read(int place) const;

 private:
  struct Arrival {
    Tensor numbers, bad;  // in the host's memory
    std::vector<Tensor> more;
    Event event;
  };

  Stream& stream_;
  const Communicators& comms_;
  std::vector<Tensor> more_;
  Tensor statistics_;            // (kStepStatistics) i64
  Tensor numbers_;               // (kNumStepNumbers) f64
  std::vector<int> parameters_;  // with gradients that this rank counts, in the store's order
  std::vector<Tensor> grads_;    // theirs
  Tensor bad_;                   // (their number) i64: 1 where one is not finite
  std::vector<Arrival> arrivals_;
  size_t next_ = 0;
};

}  // namespace tessera
