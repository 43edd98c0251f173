// SPDX-License-Identifier: Apache-2.0
#include "kernels/base/log.h"

#include <mutex>

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include "kernels/base/no_link.h"

namespace tessera::log {
namespace {

spdlog::level::level_enum native(Level level) {
  switch (level) {
    case Level::debug: return spdlog::level::debug;
    case Level::info: return spdlog::level::info;
    case Level::warn: return spdlog::level::warn;
    case Level::error: return spdlog::level::err;
  }
  return spdlog::level::info;
}

// The console shows the bare line (level and prefix only for warnings and errors); the file shows
// time, level and prefix of every line.
struct Sinks {
  std::mutex mutex;
  std::string prefix;
  Level console_level = Level::info;
  std::shared_ptr<spdlog::logger> console;
  std::shared_ptr<spdlog::logger> file;

  Sinks() {
    auto sink = std::make_shared<spdlog::sinks::stderr_color_sink_mt>(spdlog::color_mode::never);
    console = std::make_shared<spdlog::logger>("console", sink);
    console->set_pattern("%v");
    console->set_level(spdlog::level::debug);
  }
};

Sinks& sinks() {
  static Sinks& all = *new Sinks;  // usable until the last destructor has run
  return all;
}

}  // namespace

void set_prefix(const std::string& prefix) {
  const std::lock_guard lock(sinks().mutex);
  sinks().prefix = prefix;
}

void set_console(Level lowest, bool colour) {
  const std::lock_guard lock(sinks().mutex);
  sinks().console_level = lowest;
  auto sink = std::make_shared<spdlog::sinks::stderr_color_sink_mt>(
      colour ? spdlog::color_mode::always : spdlog::color_mode::never);
  sinks().console = std::make_shared<spdlog::logger>("console", sink);
  sinks().console->set_pattern(colour ? "%^%v%$" : "%v");
  sinks().console->set_level(spdlog::level::debug);
}

void open_file(const std::string& path) {
  const NoLink opened(path);
  try {
    auto sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(opened.name());
    auto logger = std::make_shared<spdlog::logger>("file", sink);
    logger->set_pattern("%Y-%m-%d %H:%M:%S.%e %l %v");
    logger->set_level(spdlog::level::debug);
    logger->flush_on(spdlog::level::warn);
    const std::lock_guard lock(sinks().mutex);
    sinks().file = logger;
  } catch (const spdlog::spdlog_ex& error) {
    fail(ErrorKind::storage, "cannot open the log file", path, error.what());
  }
}

void write(Level level, std::string_view line) {
  Sinks& all = sinks();
  const std::lock_guard lock(all.mutex);
  if (level >= all.console_level) {
    if (level >= Level::warn)
      all.console->log(native(level), "{}: {}{}", level == Level::warn ? "warning" : "error",
                       all.prefix, line);
    else
      all.console->log(native(level), "{}", line);
  }
  if (all.file) all.file->log(native(level), "{}{}", all.prefix, line);
}

void flush() {
  const std::lock_guard lock(sinks().mutex);
  sinks().console->flush();
  if (sinks().file) sinks().file->flush();
}

}  // namespace tessera::log
