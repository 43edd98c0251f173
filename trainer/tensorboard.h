// SPDX-License-Identifier: Apache-2.0
// TensorBoard event files: the scalars of a run as records of
//   u64 length, u32 masked CRC-32C of it, payload, u32 masked CRC-32C of the payload
// where the payload is an Event protocol buffer (fields: 1 wall_time, 2 step, 3 file_version,
// 5 summary{1 value{1 tag, 2 simple_value}}), written by hand: six fields need no protobuf library.
#pragma once

#include <fstream>
#include <string>

#include "trainer/observer.h"

namespace tessera {

// One record holding a scalar; wall_time in seconds since 1970.
std::string tensorboard_scalar(double wall_time, int64_t step, const std::string& tag, float value);
// The first record of every file: "brain.Event:2".
std::string tensorboard_version(double wall_time);

class TensorBoardFile : public Observer {
 public:
  explicit TensorBoardFile(const std::string& directory);  // events.out.tfevents.<time>.<host>
  void on_step(const StepReport& report) override;
  void on_eval(const EvalReport& report) override;

 private:
  void scalar(int64_t step, const std::string& tag, double value);
  std::ofstream out_;
};

}  // namespace tessera
