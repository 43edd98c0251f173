// SPDX-License-Identifier: Apache-2.0
#include "kernels/base/log.h"

#include <mutex>
#include <utility>

#include <spdlog/details/null_mutex.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>

#include "kernels/base/record_file.h"
#include "kernels/base/standard_error.h"
#include "kernels/base/warning.h"

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

// Sinks that never throw and never stop the run. `Sinks` locks around them.
class Lines : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
 protected:
  virtual void line(const spdlog::details::log_msg& message, std::string_view text) = 0;

 private:
  void sink_it_(const spdlog::details::log_msg& message) final {
    spdlog::memory_buf_t text;
    formatter_->format(message, text);
    line(message, {text.data(), text.size()});
  }
  void flush_() final {}
};

class ConsoleLines : public Lines {
 public:
  explicit ConsoleLines(bool colour) : colour_(colour) {}

 private:
  static std::string_view colour_of(spdlog::level::level_enum level) {
    switch (level) {
      case spdlog::level::warn: return "\033[33m\033[1m";
      case spdlog::level::err: return "\033[31m\033[1m";
      case spdlog::level::info: return "\033[32m";
      default: return "\033[36m";
    }
  }
  void line(const spdlog::details::log_msg& message, std::string_view text) override {
    if (!colour_) return to_standard_error(text);
    const std::string_view bare = text.substr(0, text.size() - 1);
    to_standard_error(std::string(colour_of(message.level)).append(bare) + "\033[m\n");
  }
  bool colour_;
};

class FileLines : public Lines {
 public:
  explicit FileLines(const std::string& path) : file_(path) {}
  // Words for the console about lines that could not be written, once, and once all is well again.
  std::string news() { return std::exchange(news_, {}); }

 private:
  void line(const spdlog::details::log_msg&, std::string_view text) override {
    const int64_t lost = file_.lost();
    const bool written = file_.append(text);
    if (!written && lost == 0)
      news_ = coded(Warning::log_unwritable,
                    file_.path() + " cannot be written: " + file_.reason() +
                        "; the run goes on, lines are missing there until it can");
    if (written && lost > 0)
      news_ = coded(Warning::log_unwritable, file_.path() + " is written again; " +
                                                 std::to_string(lost) + " lines are missing");
  }
  RecordFile file_;
  std::string news_;
};

// The console shows the bare line (level and prefix only for warnings and errors); the file shows
// time, level and prefix of every line.
struct Sinks {
  std::mutex mutex;
  std::string prefix;
  Level console_level = Level::info;
  std::shared_ptr<spdlog::logger> console;
  std::shared_ptr<spdlog::logger> file;
  std::shared_ptr<FileLines> file_lines;

  Sinks() { open_console(false); }
  void open_console(bool colour) {
    console = std::make_shared<spdlog::logger>("console", std::make_shared<ConsoleLines>(colour));
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
  sinks().open_console(colour);
}

void open_file(const std::string& path) {
  const auto lines = std::make_shared<FileLines>(path);
  auto logger = std::make_shared<spdlog::logger>("file", lines);
  logger->set_pattern("%Y-%m-%d %H:%M:%S.%e %l %v");
  logger->set_level(spdlog::level::debug);
  const std::lock_guard lock(sinks().mutex);
  sinks().file = logger;
  sinks().file_lines = lines;
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
  if (!all.file) return;
  all.file->log(native(level), "{}{}", all.prefix, line);
  if (const std::string news = all.file_lines->news(); !news.empty())
    all.console->log(spdlog::level::warn, "warning: {}{}", all.prefix, news);
}

void flush() {
  const std::lock_guard lock(sinks().mutex);
  sinks().console->flush();
  if (sinks().file) sinks().file->flush();
}

}  // namespace tessera::log
