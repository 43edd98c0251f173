// SPDX-License-Identifier: Apache-2.0
#include "kernels/kernel_list.h"

namespace tessera {
namespace {

template <auto Kernel,
          typename Pointer = std::remove_reference_t<decltype(std::declval<Backend&>().*Kernel)>>
struct Missing;

// One function for each kernel; it knows the name by what its instance was told.
template <auto Kernel, typename... Arguments>
struct Missing<Kernel, void (*)(Stream&, Arguments...)> {
  static inline const char* kernel = "";
  static void call(Stream& stream, Arguments...) {
    fail(ErrorKind::usage, "the kernel", kernel, "is not written for", name(stream.device()),
         "yet; use run.device=cpu");
  }
};

}  // namespace

Backend without_nulls(const Backend& backend) {
  Backend whole = backend;
  for_each_kernel([&]<auto Kernel>(const char* kernel) {
    Missing<Kernel>::kernel = kernel;
    if (whole.*Kernel == nullptr) whole.*Kernel = Missing<Kernel>::call;
  });
  return whole;
}

}  // namespace tessera
