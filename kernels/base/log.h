// SPDX-License-Identifier: Apache-2.0
// The process's log: lines with a level and a prefix (World sets it to the rank). Lines go to
// standard error (if the console is on: rank 0, and errors of every rank) and, once opened, to
// the rank's own file. Thread-safe. The only home of spdlog is log.cc.
#pragma once

#include <string>
#include <string_view>

#include "kernels/base/check.h"

namespace tessera::log {

enum class Level { debug, info, warn, error };

void set_prefix(const std::string& prefix);   // e.g. "rank 3 "
void set_console(Level lowest, bool colour);  // what reaches standard error
void open_file(const std::string& path);      // everything from debug up, flushed on warn
void write(Level level, std::string_view line);
void flush();

template <typename... Values>
void debug(std::string_view text, const Values&... values) {
  write(Level::debug, detail::join(text, values...));
}
template <typename... Values>
void info(std::string_view text, const Values&... values) {
  write(Level::info, detail::join(text, values...));
}
template <typename... Values>
void warn(std::string_view text, const Values&... values) {
  write(Level::warn, detail::join(text, values...));
}
template <typename... Values>
void error(std::string_view text, const Values&... values) {
  write(Level::error, detail::join(text, values...));
}

}  // namespace tessera::log
