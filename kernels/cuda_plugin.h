// SPDX-License-Identifier: Apache-2.0
// Finds and opens libtessera_cuda.so, at most once in a process and only when somebody asks; says
// why it cannot be used. Looked for: the file $TESSERA_CUDA_PLUGIN, and if that is not set, beside
// the executable, beside libtessera.so, in ../lib of the executable, and where the system looks.
// The plug-in exports two C functions (below); its ABI string must be ours, since it shares our
// classes. The program itself needs no CUDA library. Thread-safe.
#pragma once

#include <string>
#include <vector>

#include "kernels/base/accelerator.h"

namespace tessera {

inline constexpr const char* kCudaPluginName = "libtessera_cuda.so";
// const char* tessera_plugin_abi(): plugin_abi() of the headers it was compiled with.
inline constexpr const char* kPluginAbiSymbol = "tessera_plugin_abi";
// tessera::Accelerator* tessera_plugin_accelerator(): its one instance, never destroyed.
inline constexpr const char* kPluginAcceleratorSymbol = "tessera_plugin_accelerator";

// Differs whenever a plug-in of one build must not be opened by a program of another.
std::string plugin_abi();

struct CudaPlugin {
  std::string path;     // of the library that was opened; empty: none was
  std::string problem;  // a whole sentence that says why it cannot be used; empty: it can
  Accelerator* accelerator = nullptr;  // null: no library
  void* library = nullptr;             // as dlopen() gave it
};
// The first call opens it. Throws nothing.
const CudaPlugin& cuda_plugin();

// Something else that it exports, for a room above this one; null: it cannot be used, or has none.
void* cuda_plugin_symbol(const char* name);

// A library that a plug-in was built without.
struct LackingLibrary {
  std::string name;     // "NCCL"
  std::string follows;  // what cannot be done without it, a clause
  std::string remedy;   // how to build the plug-in with it, a clause
};
// std::vector<tessera::LackingLibrary> tessera_plugin_lacks(); a plug-in without it lacks nothing.
inline constexpr const char* kPluginLacksSymbol = "tessera_plugin_lacks";

// The libraries that the plug-in could use but was built without. They are told also where it finds
// no device, since people look at it where it was built. Empty where there is no plug-in of this
// build.
std::vector<LackingLibrary> lacking_libraries();

// Whether it is worth while to open it when nobody insists on a GPU: there is a driver's device
// file, or $TESSERA_CUDA_PLUGIN is set. Costs nothing, opens nothing.
bool gpu_in_sight();

// The accelerator behind Device::Kind::cuda. Throws Error{usage} with cuda_plugin().problem.
Accelerator& cuda_accelerator();

}  // namespace tessera
