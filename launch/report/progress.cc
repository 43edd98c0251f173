// SPDX-License-Identifier: Apache-2.0
#include "launch/report/progress.h"

#include <algorithm>
#include <cstdio>

#include "launch/report/console.h"
#include "launch/report/format.h"

namespace tessera {
namespace {
constexpr double kQuiet = 2.0;          // seconds before anything is said
constexpr double kTerminalEvery = 0.2;  // seconds between redraws
constexpr double kLogEvery = 10.0;      // seconds between lines of a log
}  // namespace

ProgressLine::ProgressLine(std::string what, int64_t total)
    : what_(std::move(what)),
      total_(std::max<int64_t>(1, total)),
      terminal_(stderr_is_terminal()) {}

ProgressLine::~ProgressLine() {
  finish();
}

void ProgressLine::at(int64_t done) {
  const auto now = Clock::now();
  const double seconds = std::chrono::duration<double>(now - start_).count();
  const double since = std::chrono::duration<double>(now - last_).count();
  if (seconds < kQuiet || since < (terminal_ ? kTerminalEvery : kLogEvery)) return;
  last_ = now;
  show(std::clamp(static_cast<double>(done) / static_cast<double>(total_), 0.0, 1.0), seconds);
}

void ProgressLine::show(double fraction, double seconds) {
  std::string text = what_ + "  " + fixed(100 * fraction, 0) + "%";
  if (fraction > 0.01) text += "  eta " + as_duration(seconds / fraction - seconds);
  if (terminal_) {
    constexpr int kWidth = 30;
    const auto filled = static_cast<size_t>(fraction * kWidth);
    text += "  [" + std::string(filled, '#') + std::string(kWidth - filled, '.') + "]";
    std::fprintf(stderr, "\r\033[K%s", text.c_str());
    std::fflush(stderr);
    drawn_ = true;
  } else {
    std::fprintf(stderr, "%s\n", text.c_str());
  }
}

void ProgressLine::finish() {
  if (drawn_) std::fputs("\r\033[K", stderr);
  drawn_ = false;
}

}  // namespace tessera
