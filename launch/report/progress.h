// SPDX-License-Identifier: Apache-2.0
// Progress of work that takes longer than two seconds: one line redrawn on a terminal, a line every
// ten seconds in a log, nothing for quick work.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace tessera {

class ProgressLine {
 public:
  ProgressLine(std::string what, int64_t total);
  ~ProgressLine();
  void at(int64_t done);  // cheap to call often
  void finish();          // removes the line

 private:
  void show(double fraction, double seconds);
  using Clock = std::chrono::steady_clock;
  std::string what_;
  int64_t total_;
  Clock::time_point start_ = Clock::now();
  Clock::time_point last_ = start_;
  bool drawn_ = false;
  bool terminal_;
};

}  // namespace tessera
