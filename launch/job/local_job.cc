// SPDX-License-Identifier: Apache-2.0
#include "launch/job/local_job.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernels/base/check.h"
#include "launch/job/output_relay.h"
#include "launch/job/signals.h"

namespace tessera {
namespace {

constexpr int kCannotStart = 127;

bool is_on_path(const std::string& program) {
  const char* path = std::getenv("PATH");
  std::string rest = path ? path : "";
  while (!rest.empty()) {
    const size_t colon = std::min(rest.find(':'), rest.size());
    const std::string candidate = rest.substr(0, colon) + "/" + program;
    if (access(candidate.c_str(), X_OK) == 0) return true;
    rest.erase(0, colon + 1);
  }
  return false;
}

// Threads of one core name the same list of siblings; where the kernel tells nothing, a thread is a
// core.
std::string core_of(int thread) {
  std::ifstream in("/sys/devices/system/cpu/cpu" + std::to_string(thread) +
                   "/topology/thread_siblings_list");
  std::string siblings;
  return std::getline(in, siblings) ? siblings : std::to_string(thread);
}

bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::strchr("_-./=:,+@%", c) != nullptr;
}

std::string quoted(const std::string& word) {
  if (!word.empty() && std::all_of(word.begin(), word.end(), is_plain)) return word;
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

constexpr std::array kForwarded = {SIGINT, SIGTERM, SIGHUP, SIGUSR1};

sigset_t forwarded_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : kForwarded) sigaddset(&set, number);
  sigaddset(&set, SIGCHLD);
  return set;
}

// A signal that is already meant for the job must not be taken by a handler of ours before exec.
void reset_handlers() {
  for (const int number : kForwarded) {
    struct sigaction action = {};
    sigaction(number, nullptr, &action);
    if (action.sa_handler != SIG_IGN) std::signal(number, SIG_DFL);
  }
}

// In a process group of its own, or Ctrl-C would reach mpirun twice: from the terminal and from us.
// Hence without our standard input, which a terminal grants to one group only.
[[noreturn]] void become(const LocalCommand& command, const sigset_t& mask, pid_t supervisor,
                         const std::string& ready_file, const OutputRelay& relay) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != supervisor) _exit(kCannotStart);  // it has died before that call
  if (!ready_file.empty()) setenv("TESSERA_READY_FILE", ready_file.c_str(), 1);
  const int nothing = open("/dev/null", O_RDONLY);
  if (nothing >= 0) dup2(nothing, STDIN_FILENO);
  relay.become_output();
  for (const auto& [name, value] : command.environment) setenv(name.c_str(), value.c_str(), 1);
  std::vector<char*> words;
  for (const std::string& word : command.words) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  reset_handlers();
  sigprocmask(SIG_SETMASK, &mask, nullptr);
  execvp(words[0], words.data());
  _exit(kCannotStart);
}

// The file has no name and goes with this process, however that ends. The job's rank 0 writes to it
// (launch/job/ready_file.h).
class ReadyFile {
 public:
  ReadyFile() : file_(memfd_create("tessera-ready", MFD_CLOEXEC)) {}
  ~ReadyFile() {
    if (file_ >= 0) close(file_);
  }
  ReadyFile(const ReadyFile&) = delete;
  ReadyFile& operator=(const ReadyFile&) = delete;

  // The name is that of this process's descriptor. It is empty where there is no such file.
  std::string path() const {
    if (file_ < 0) return "";
    return "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(file_);
  }
  bool written() const {
    struct stat facts = {};
    return file_ < 0 || (fstat(file_, &facts) == 0 && facts.st_size > 0);
  }

 private:
  int file_;
};

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Passes signals on until the job is gone; returns its exit code.
class Supervision {
 public:
  Supervision(pid_t job, OnStop on_stop, const ReadyFile& ready)
      : job_(job), on_stop_(on_stop), ready_(ready) {}

  // `early`: a signal that came before the job was started; 0: none.
  int operator()(const sigset_t& signals, int early) {
    if (early > 0) hear(early);
    int status = 0;
    while (waitpid(job_, &status, WNOHANG) != job_) {
      const int number = next(signals);
      if (number > 0 && number != SIGCHLD) hear(number);
      if (held_back_ && ready_.written()) {
        held_back_ = false;
        kill(job_, SIGUSR1);
      }
    }
    const int code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    // mpirun says 1 when it was ended by a signal, or names the one that its ranks died of.
    return ended_by_ > 0 && (code == 1 || code >= 128) ? 128 + ended_by_ : code;
  }

 private:
  int next(const sigset_t& signals) const {
    const struct timespec shortly = {0, 20'000'000};
    return sigtimedwait(&signals, nullptr, held_back_ ? &shortly : nullptr);
  }

  void hear(int number) {
    if (on_stop_ == OnStop::end)
      pass_on(number);
    else if (!asked_ && (number != SIGINT || ready_.written()))
      ask();
    else if (number != SIGUSR1 && now() - asked_at_ > kOneRequest)
      pass_on(number);
  }
  // A signal would end ranks, and mpirun itself, that have only just been started.
  void ask() {
    asked_ = held_back_ = true;
    asked_at_ = now();
  }
  // mpirun knows no SIGHUP. A third signal is for an mpirun that does not end.
  void pass_on(int number) {
    const bool again = ended_by_ > 0 && number != SIGUSR1;
    if (number != SIGUSR1) ended_by_ = number;
    kill(job_, again ? SIGKILL : number == SIGHUP ? SIGTERM : number);
  }

  static constexpr double kOneRequest = 0.2;  // s; what is repeated within it is the same request
  pid_t job_;
  OnStop on_stop_;
  const ReadyFile& ready_;
  bool asked_ = false;      // to save and stop
  bool held_back_ = false;  // but not told yet
  double asked_at_ = -1e9;
  int ended_by_ = 0;
};

}  // namespace

Machine this_machine() {
  Machine machine;
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof set, &set);
  std::set<std::string> cores;
  for (int thread = 0; thread < CPU_SETSIZE; ++thread)
    if (CPU_ISSET(thread, &set)) cores.insert(core_of(thread));
  machine.threads = std::max(1, CPU_COUNT(&set));
  machine.cores = std::max(1, static_cast<int>(cores.size()));
  machine.whole = machine.threads >= sysconf(_SC_NPROCESSORS_ONLN);
  machine.root = geteuid() == 0;
  machine.has_mpirun = is_on_path("mpirun");
  machine.threads_chosen = std::getenv("OMP_NUM_THREADS") != nullptr;
  machine.network_chosen = std::getenv("OMPI_MCA_btl") || std::getenv("OMPI_MCA_oob") ||
                           std::getenv("OMPI_MCA_oob_tcp_if_include");
  return machine;
}

std::string LocalCommand::to_string() const {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + quoted(word);
  return text;
}

std::string LocalCommand::to_shell_line() const {
  std::string text;
  for (const auto& [name, value] : environment) text += name + "=" + quoted(value) + " ";
  return text + to_string();
}

LocalCommand local_command(const Machine& machine, int ranks,
                           const std::vector<std::string>& program) {
  check(ranks >= 1, ErrorKind::usage, "launch: -n wants at least 1 rank, got", ranks);
  check(machine.has_mpirun, ErrorKind::usage,
        "launch: there is no mpirun on the PATH: apt-get install openmpi-bin");
  LocalCommand command;
  command.words = {"mpirun", "-n", std::to_string(ranks)};
  const auto add = [&](const std::vector<std::string>& words) {
    command.words.insert(command.words.end(), words.begin(), words.end());
  };
  const bool crowded = ranks > machine.cores;
  if (crowded) add({"--oversubscribe"});
  if (crowded || !machine.whole)
    add({"--bind-to", "none"});
  else
    add({"--map-by", "slot:PE=" + std::to_string(machine.cores / ranks), "--bind-to", "core"});
  if (crowded) add({"--mca", "mpi_yield_when_idle", "1"});
  if (!machine.network_chosen)
    add({"--mca", "btl", "self,vader", "--mca", "oob_tcp_if_include", "lo"});
  add({"--mca", "odls_base_sigkill_timeout", "0"});
  add(program);

  const int threads = std::max(1, machine.threads / ranks);
  if (!machine.threads_chosen)
    command.environment.emplace_back("OMP_NUM_THREADS", std::to_string(threads));
  if (machine.root)
    for (const char* name : {"OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"})
      command.environment.emplace_back(name, "1");
  command.note = std::to_string(machine.cores) + (machine.cores > 1 ? " cores" : " core");
  if (machine.threads_chosen)
    command.note += ", threads a rank as OMP_NUM_THREADS says";
  else
    command.note += ", " + std::to_string(threads) + (threads > 1 ? " threads" : " thread") +
                    " a rank (OMP_NUM_THREADS)";
  return command;
}

int run_local(const LocalCommand& command, OnStop on_stop) {
  check(std::getenv("OMPI_COMM_WORLD_SIZE") == nullptr, ErrorKind::usage,
        "launch: this is a rank of an MPI job already; it cannot start another");
  const sigset_t signals = forwarded_signals();
  sigset_t before;
  sigprocmask(SIG_BLOCK, &signals, &before);  // until sigwait() asks for them
  const ReadyFile ready;
  OutputRelay relay;
  std::fflush(stdout);
  const pid_t supervisor = getpid();
  const std::string ready_path = ready.path();  // of a descriptor of this process, not of the job's
  const pid_t job = fork();
  if (job == 0) become(command, before, supervisor, ready_path, relay);
  const int fork_error = errno;
  if (job > 0) relay.start();
  const int code =
      job < 0 ? kCannotStart : Supervision(job, on_stop, ready)(signals, first_stop_signal());
  sigprocmask(SIG_SETMASK, &before, nullptr);
  const bool told = relay.finish();
  check(job >= 0, ErrorKind::usage,
        "launch: no process can be started:", std::strerror(fork_error));
  check(code != kCannotStart, ErrorKind::usage, "launch: cannot start", command.words.front());
  check(told || code != 0, ErrorKind::storage,
        "standard output could not be written; what was told is incomplete");
  return code;
}

std::string this_program() {
  return std::filesystem::read_symlink("/proc/self/exe").string();
}

}  // namespace tessera
