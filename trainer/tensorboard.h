// SPDX-License-Identifier: Apache-2.0
// TensorBoard event files: the scalars of a run as records of
//   u64 length, u32 masked CRC-32C of it, payload, u32 masked CRC-32C of the payload
// where the payload is an Event protocol buffer (fields: 1 wall_time, 2 step, 3 file_version,
// 5 summary{1 value{1 tag, 2 simple_value}}, 7 session_log{1 status}), written by hand: so few
// fields need no protobuf library.
#pragma once

#include <string>

#include "trainer/observer.h"
#include "trainer/run_file.h"

namespace tessera {

// One record holding a scalar; wall_time in seconds since 1970.
std::string tensorboard_scalar(double wall_time, int64_t step, const std::string& tag, float value);
// The first record of every file: "brain.Event:2".
std::string tensorboard_version(double wall_time);
// The record holds a SessionLog with the status START. TensorBoard forgets what earlier files hold
// of `step` and of later steps, which a run that goes on from a checkpoint trains again.
std::string tensorboard_start(double wall_time, int64_t step);

// Records that cannot be written are left out (W062).
class TensorBoardFile : public Observer {
 public:
  explicit TensorBoardFile(const std::string& directory);  // events.out.tfevents.<time>.<host>
  void on_start(int64_t step, const std::string& how) override;
  void on_step(const StepReport& report) override;
  void on_eval(const EvalReport& report) override;

 private:
  void scalar(int64_t step, const std::string& tag, double value);
  void write();
  RunFile file_;
  std::string records_;  // of the event that is being told
};

}  // namespace tessera
