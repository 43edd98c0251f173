// SPDX-License-Identifier: Apache-2.0
// All processes of a job, however it was started and whatever became of its parents: each inherits
// a variable of the environment that no other process has.
#pragma once

#include <cctype>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include <sys/types.h>

#include "tests/support/program.h"

namespace tessera::soak {

inline constexpr const char* kTokenVariable = "TESSERA_SOAK_TOKEN";

// Zombies do not count: their environment is gone.
inline std::vector<pid_t> processes_with(const std::string& token) {
  const std::string wanted = std::string(1, '\0') + kTokenVariable + "=" + token + '\0';
  std::vector<pid_t> pids;
  std::error_code gone;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", gone)) {
    const std::string name = entry.path().filename().string();
    if (std::isdigit(static_cast<unsigned char>(name[0])) == 0) continue;
    const std::string environment = '\0' + read_text(entry.path().string() + "/environ");
    if (environment.find(wanted) != std::string::npos) pids.push_back(std::stoi(name));
  }
  return pids;
}

inline std::vector<pid_t> children_of(pid_t parent) {
  std::vector<pid_t> pids;
  std::error_code gone;
  const std::string tasks = "/proc/" + std::to_string(parent) + "/task";
  for (const auto& task : std::filesystem::directory_iterator(tasks, gone)) {
    std::istringstream list(read_text(task.path().string() + "/children"));
    for (pid_t child = 0; list >> child;) pids.push_back(child);
  }
  return pids;
}

// False when some are still there after `seconds`; these are killed.
inline bool wait_until_gone(const std::string& token, double seconds) {
  const auto limit = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  for (;;) {
    const std::vector<pid_t> left = processes_with(token);
    if (left.empty()) return true;
    if (std::chrono::steady_clock::now() > limit) {
      for (const pid_t pid : left) ::kill(pid, SIGKILL);
      return false;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

}  // namespace tessera::soak
