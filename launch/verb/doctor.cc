// SPDX-License-Identifier: Apache-2.0
// `tessera doctor`: one line a question, OK, WARN or FAIL, with the fix.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <sched.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "kernels/cpu_path.h"
#include "kernels/cuda_plugin.h"
#include "launch/job/device_choice.h"
#include "launch/report/format.h"
#include "launch/run/preflight.h"
#include "launch/verb/common_flags.h"
#include "launch/verb/verbs.h"

namespace tessera {
namespace {

struct DoctorCommand {
  bool json = false;
  bool gpu = false;
};

struct Finding {
  const char* verdict;  // OK | WARN | FAIL
  std::string what;
  std::string found;
  std::string fix;  // "" when OK
};

Finding cpu() {
  const CpuPath best = best_cpu_path();
  const std::string found = std::string("x86-64-") + name(best);
  if (best >= CpuPath::v4_bf16) return {"OK", "cpu", found, ""};
  if (best >= CpuPath::v3)
    return {"WARN", "cpu", found,
            "bf16 products run in f32 here; precision.compute=f32 is as quick"};
  return {"WARN", "cpu", found, "no AVX2: training will be slow"};
}

Finding cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof set, &set);
  return {"OK", "cores", std::to_string(CPU_COUNT(&set)) + " usable", ""};
}

Finding memory() {
  const auto bytes = static_cast<double>(available_memory());
  if (bytes == 0) return {"WARN", "memory", "unknown", "/proc/meminfo cannot be read"};
  return {bytes > 2e9 ? "OK" : "WARN", "memory", as_bytes(bytes) + " available",
          bytes > 2e9 ? "" : "close other programs or use smaller batches"};
}

Finding launcher() {
  const char* path = std::getenv("PATH");
  std::string rest = path ? path : "";
  while (!rest.empty()) {
    const size_t colon = std::min(rest.find(':'), rest.size());
    const std::string program = rest.substr(0, colon) + "/mpirun";
    if (access(program.c_str(), X_OK) == 0) return {"OK", "mpirun", program, ""};
    rest.erase(0, colon + 1);
  }
  return {"FAIL", "mpirun", "not on the PATH", "apt-get install openmpi-bin"};
}

Finding root() {
  if (geteuid() != 0 || std::getenv("OMPI_ALLOW_RUN_AS_ROOT")) return {"OK", "user", "", ""};
  return {"WARN", "user", "root",
          "mpirun refuses root: export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"};
}

// Without opening anything.
Finding gpu() {
  if (!gpu_in_sight()) return {"OK", "gpu", "no NVIDIA driver here", ""};
  return {"OK", "gpu", "NVIDIA driver found", "more: tessera doctor --gpu"};
}

// What run.device=cuda would find: the plugin, the libraries under it, each GPU.
std::vector<Finding> gpus() {
  const CudaPlugin& plugin = cuda_plugin();
  std::vector<Finding> findings;
  for (const LackingLibrary& each : lacking_libraries())
    findings.push_back(
        {"WARN", "gpu plugin", "without " + each.name + ": " + each.follows, each.remedy});
  if (!plugin.problem.empty()) {
    findings.push_back({"FAIL", "gpu", "cannot be used", plugin.problem});
    return findings;
  }
  const Accelerator& accelerator = *plugin.accelerator;
  findings.push_back({"OK", "gpu plugin", plugin.path + " (" + accelerator.libraries() + ")", ""});
  for (int device = 0; device < accelerator.count(); ++device) {
    const DeviceMemory memory = accelerator.memory(device);
    const bool busy = memory.free < memory.total / 10 * 9;
    findings.push_back({busy ? "WARN" : "OK", "gpu",
                        describe({Device::Kind::cuda, device}) + ", " +
                            as_binary_bytes(static_cast<double>(memory.free)) + " free",
                        busy ? "another program uses its memory: see nvidia-smi" : ""});
  }
  return findings;
}

Finding disk() {
  struct statvfs fs = {};
  if (statvfs(".", &fs) != 0) return {"WARN", "disk", "unknown", "statvfs failed"};
  const double free = static_cast<double>(fs.f_bavail) * static_cast<double>(fs.f_frsize);
  return {free > 5e9 ? "OK" : "WARN", "disk", as_bytes(free) + " free here",
          free > 5e9 ? "" : "checkpoints need room: set checkpoint.directory elsewhere"};
}

// Median of eleven durable 4 KiB writes: what a checkpoint's commit waits for a few times.
Finding sync_latency() {
  const std::string path = ".tessera-doctor";
  const int file = open(path.c_str(), O_CREAT | O_WRONLY | O_TRUNC, 0600);
  if (file < 0) return {"FAIL", "fsync", "cannot write here", "run doctor where runs/ will be"};
  std::vector<double> times;
  const std::string block(4096, 'x');
  for (int i = 0; i < 11; ++i) {
    const auto start = std::chrono::steady_clock::now();
    if (write(file, block.data(), block.size()) < 0 || fsync(file) != 0) break;
    times.push_back(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  close(file);
  unlink(path.c_str());
  if (times.size() < 11) return {"FAIL", "fsync", "failed", "the disk here is full or broken"};
  std::nth_element(times.begin(), times.begin() + 5, times.end());
  const bool quick = times[5] < 0.1;
  return {quick ? "OK" : "WARN", "fsync", fixed(1000 * times[5], 1) + " ms",
          quick ? "" : "saving will stall training: set checkpoint.directory to a faster disk"};
}

Finding open_files() {
  rlimit limit = {};
  getrlimit(RLIMIT_NOFILE, &limit);
  const bool enough = limit.rlim_cur >= 256;
  return {enough ? "OK" : "WARN", "open files", std::to_string(limit.rlim_cur),
          enough ? "" : "ulimit -n 1024"};
}

int examine(const DoctorCommand& command) {
  std::vector<Finding> findings = {cpu(), cores(), memory(),       launcher(),  root(),
                                   gpu(), disk(),  sync_latency(), open_files()};
  if (command.gpu)
    for (Finding& finding : gpus()) findings.push_back(std::move(finding));
  bool failed = false;
  std::vector<std::vector<std::string>> rows = {{"", "check", "found", "fix"}};
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Finding& finding : findings) {
    failed = failed || std::string(finding.verdict) == "FAIL";
    rows.push_back({finding.verdict, finding.what, finding.found, finding.fix});
    list.push_back({{"verdict", finding.verdict},
                    {"check", finding.what},
                    {"found", finding.found},
                    {"fix", finding.fix}});
  }
  if (command.json)
    std::printf("%s\n", list.dump().c_str());
  else
    std::fputs(table(rows).c_str(), stdout);
  return failed ? 1 : 0;
}

}  // namespace

Verb doctor_verb() {
  const auto c = std::make_shared<DoctorCommand>();
  return {
      .name = "doctor",
      .help = "what this machine has and lacks",
      .flags = {json_row(c->json), {"--gpu", &c->gpu, "open the CUDA plugin and look at each GPU"}},
      .run = [c] { return examine(*c); }};
}

}  // namespace tessera
