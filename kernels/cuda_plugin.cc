// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda_plugin.h"

#include <cstdlib>
#include <filesystem>
#include <vector>

#include <dlfcn.h>

#include "kernels/base/check.h"
#include "kernels/plugin_abi.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

fs::path directory_of_executable() {
  std::error_code ignored;
  return fs::read_symlink("/proc/self/exe", ignored).parent_path();
}

fs::path directory_of_library() {
  Dl_info info;
  if (dladdr(reinterpret_cast<const void*>(&cuda_plugin), &info) == 0) return {};
  std::error_code ignored;
  return fs::weakly_canonical(info.dli_fname, ignored).parent_path();
}

std::vector<std::string> places() {
  if (const char* asked = std::getenv("TESSERA_CUDA_PLUGIN"); asked != nullptr && *asked != '\0')
    return {asked};
  std::vector<std::string> all;
  for (const fs::path& directory : {directory_of_executable(), directory_of_library(),
                                    directory_of_executable().parent_path() / "lib"}) {
    const fs::path file = directory / kCudaPluginName;
    std::error_code ignored;
    if (!directory.empty() && fs::exists(file, ignored)) all.push_back(file.string());
  }
  all.push_back(kCudaPluginName);
  return all;
}

const std::string kAutoRemedy = " Use run.device=auto to fall back to CPU. (tessera doctor --gpu)";

// What dlopen() said of the last place, the nearest one first.
void* open_first(std::string& path, std::string& said) {
  for (const std::string& place : places()) {
    if (void* library = dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL)) {
      path = place;
      return library;
    }
    if (said.empty()) said = dlerror();
  }
  return nullptr;
}

// `loaded`: "run.device=cuda: plugin ... loaded (...), but "
std::string problem_of(void* library, CudaPlugin& plugin) {
  const std::string name = fs::path(plugin.path).filename().string();
  const auto abi = reinterpret_cast<const char* (*)()>(dlsym(library, kPluginAbiSymbol));
  const auto make = reinterpret_cast<Accelerator* (*)()>(dlsym(library, kPluginAcceleratorSymbol));
  if (abi == nullptr || make == nullptr)
    return "run.device=cuda: " + plugin.path + " is no plugin of tessera." + kAutoRemedy;
  if (plugin_abi() != abi())
    return "run.device=cuda: plugin " + plugin.path + " belongs to another build: it says `" +
           abi() + "`, this program is `" + plugin_abi() + "`. Install both from one build." +
           kAutoRemedy;
  try {
    plugin.accelerator = make();
    const std::string problem = plugin.accelerator->problem();
    if (problem.empty()) return {};
    return "run.device=cuda: plugin " + name + " loaded (" + plugin.accelerator->libraries() +
           "), but " + problem + kAutoRemedy;
  } catch (const Error& error) {
    return "run.device=cuda: plugin " + name + " loaded, but " + error.what() + "." + kAutoRemedy;
  }
}

CudaPlugin open_plugin() {
  CudaPlugin plugin;
  std::string said;
  plugin.library = open_first(plugin.path, said);
  plugin.problem = plugin.library != nullptr
                       ? problem_of(plugin.library, plugin)
                       : "run.device=cuda: plugin " + std::string(kCudaPluginName) +
                             " cannot be loaded (" + said + ")." + kAutoRemedy;
  return plugin;
}

}  // namespace

std::string plugin_abi() {
  return compiled_plugin_abi();
}

const CudaPlugin& cuda_plugin() {
  static const CudaPlugin plugin = open_plugin();
  return plugin;
}

void* cuda_plugin_symbol(const char* name) {
  const CudaPlugin& plugin = cuda_plugin();
  return plugin.problem.empty() ? dlsym(plugin.library, name) : nullptr;
}

std::vector<LackingLibrary> lacking_libraries() {
  const CudaPlugin& plugin = cuda_plugin();
  if (plugin.accelerator == nullptr) return {};
  const auto lacks = reinterpret_cast<std::vector<LackingLibrary> (*)()>(
      dlsym(plugin.library, kPluginLacksSymbol));
  return lacks == nullptr ? std::vector<LackingLibrary>{} : lacks();
}

bool gpu_in_sight() {
  if (const char* asked = std::getenv("TESSERA_CUDA_PLUGIN"); asked != nullptr && *asked != '\0')
    return true;
  std::error_code ignored;
  // Linux; Windows' subsystem for it.
  return fs::exists("/dev/nvidiactl", ignored) || fs::exists("/dev/dxg", ignored);
}

Accelerator& cuda_accelerator() {
  const CudaPlugin& plugin = cuda_plugin();
  if (!plugin.problem.empty()) fail(ErrorKind::usage, plugin.problem);
  return *plugin.accelerator;
}

}  // namespace tessera
