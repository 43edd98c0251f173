// SPDX-License-Identifier: Apache-2.0
// Runs other programs in tests: output kept, a limit of time, and no process left behind.
#pragma once

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/temporary.h"

namespace tessera {

inline std::string read_text(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

struct ProgramResult {
  int exit_code = -1;  // 128 + n when signal n ended it
  bool timed_out = false;
  std::string out, err;
  double seconds = 0;
};

struct ProgramOptions {
  std::string directory = ".";
  std::vector<std::pair<std::string, std::string>> environment = {};
};

// A running program. Its process group is killed when the object goes.
class Program {
 public:
  Program(const std::vector<std::string>& words, const ProgramOptions& options) {
    pid_ = ::fork();
    if (pid_ == 0) become(words, options);
    ::setpgid(pid_, pid_);
  }
  ~Program() {
    if (!reaped_) stop();
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  pid_t pid() const { return pid_; }
  void signal(int number) const { ::kill(pid_, number); }
  bool running() {
    if (!reaped_ && ::waitpid(pid_, &status_, WNOHANG) == pid_) reaped_ = true;
    return !reaped_;
  }
  std::string err() const { return read_text(output_ / "err"); }

  // Waits for the end, at most `seconds`; then everything of it is killed.
  ProgramResult wait(double seconds) {
    ProgramResult result;
    const auto limit = Clock::now() + std::chrono::duration<double>(seconds);
    while (running() && Clock::now() < limit)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    result.timed_out = !reaped_;
    if (!reaped_) stop();
    result.exit_code = WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_);
    result.out = read_text(output_ / "out");
    result.err = err();
    result.seconds = std::chrono::duration<double>(Clock::now() - start_).count();
    return result;
  }

  // Its direct children: the ranks of an mpirun.
  std::vector<pid_t> children() const {
    std::vector<pid_t> pids;
    std::error_code gone;
    const std::string tasks = "/proc/" + std::to_string(pid_) + "/task";
    for (const auto& task : std::filesystem::directory_iterator(tasks, gone)) {
      std::istringstream list(read_text(task.path().string() + "/children"));
      for (pid_t child = 0; list >> child;) pids.push_back(child);
    }
    return pids;
  }

 private:
  using Clock = std::chrono::steady_clock;

  [[noreturn]] void become(const std::vector<std::string>& words, const ProgramOptions& options) {
    ::setpgid(0, 0);
    const auto redirect = [](const std::string& path, int to, int flags) {
      const int file = ::open(path.c_str(), flags, 0600);
      if (file < 0 || ::dup2(file, to) < 0) ::_exit(127);
    };
    redirect("/dev/null", STDIN_FILENO, O_RDONLY);
    redirect(output_ / "out", STDOUT_FILENO, O_WRONLY | O_CREAT | O_TRUNC);
    redirect(output_ / "err", STDERR_FILENO, O_WRONLY | O_CREAT | O_TRUNC);
    if (::chdir(options.directory.c_str()) != 0) ::_exit(127);
    for (const auto& [name, value] : options.environment) ::setenv(name.c_str(), value.c_str(), 1);
    std::vector<char*> arguments;
    for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    ::execvp(arguments[0], arguments.data());
    ::_exit(127);
  }

  void stop() {
    const std::vector<pid_t> ranks = children();  // each has a process group of its own
    ::kill(-pid_, SIGKILL);
    for (const pid_t rank : ranks) ::kill(rank, SIGKILL);
    ::waitpid(pid_, &status_, 0);
    reaped_ = true;
  }

  TemporaryDirectory output_;
  Clock::time_point start_ = Clock::now();
  pid_t pid_ = -1;
  int status_ = 0;
  bool reaped_ = false;
};

inline ProgramResult run_program(const std::vector<std::string>& words,
                                 const ProgramOptions& options = {}, double seconds = 600) {
  return Program(words, options).wait(seconds);
}

}  // namespace tessera
