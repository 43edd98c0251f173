// SPDX-License-Identifier: Apache-2.0
// Linked into a test, this makes the CPU's streams run the kernels of the first GPU
// (cuda_plugin.h): what a call's tensors lie in goes to the GPU before each call and comes back
// after it, so that tests written for the host's memory hold GPU kernels against the reference.
// Where there is no GPU the program says why and ends with success: "SKIPPED: ...".
#include <array>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>

#include <dlfcn.h>

#include "kernels/cuda_plugin.h"
#include "kernels/kernel_list.h"
#include "kernels/transfer.h"

namespace tessera {
namespace {

// While the device is at work, cpu_backend() is the real one: the stand-in of a GPU uses it.
thread_local bool inside = false;

Stream& device_stream() {
  static Stream stream(Device{Device::Kind::cuda});
  return stream;
}

// The device's copies of what the tensors of one call lie in.
class Passage {
 public:
  Tensor operator()(const Tensor& x) {
    if (x.empty()) return {};
    Copy& copy = copies_[x.buffer().data()];
    if (copy.device == nullptr) bring(x.buffer(), copy);
    const auto* first = static_cast<const std::byte*>(x.data());
    const int64_t offset = (first - x.buffer().data()) / size_of(x.dtype());
    return Tensor(copy.device, x.dtype(), offset, {x.rows(), std::max(x.pitch(), x.columns())})
        .column_slice(0, x.columns());
  }
  Gemm operator()(Gemm product) {
    for (Tensor* x : {&product.a, &product.b, &product.c}) *x = (*this)(*x);
    return product;
  }
  GroupedGemm operator()(GroupedGemm products) {
    for (Tensor* x : {&products.a, &products.b, &products.c, &products.offsets}) *x = (*this)(*x);
    return products;
  }
  AttentionGradients operator()(AttentionGradients gradients) {
    for (Tensor* x : {&gradients.dq, &gradients.dk, &gradients.dv}) *x = (*this)(*x);
    return gradients;
  }
  AdamWPart operator()(AdamWPart part) {
    for (Tensor* x : {&part.grad, &part.master, &part.m, &part.v, &part.compute}) *x = (*this)(*x);
    return part;
  }
  template <typename T>
  std::vector<T> operator()(std::vector<T> list) {
    for (T& each : list) each = (*this)(each);
    return list;
  }
  template <typename T>
  const T& operator()(const T& other) {
    return other;
  }

  void back() {
    for (auto& [host, copy] : copies_)
      if (copy.bytes > 0) download_values(device_stream(), whole(copy), kBytes, host);
  }

 private:
  struct Copy {
    std::shared_ptr<Buffer> device;
    int64_t bytes = 0;
  };
  static constexpr DType kBytes = DType::f8_e4m3;  // of one byte
  static constexpr int64_t kBeyond = 1 << 20;      // the last row's pitch may end outside

  static Tensor whole(const Copy& copy) { return Tensor(copy.device, kBytes, 0, {copy.bytes}); }
  static void bring(const Buffer& host, Copy& copy) {
    copy.bytes = host.bytes();
    copy.device = std::make_shared<Buffer>(device_stream().device(), host.bytes() + kBeyond);
    if (copy.bytes > 0)
      upload_values(device_stream(), host.data(), copy.bytes, kBytes, whole(copy));
  }

  std::map<std::byte*, Copy> copies_;
};

template <auto Kernel, typename Type = std::remove_reference_t<decltype(Backend{}.*Kernel)>>
struct Through;
template <auto Kernel, typename... Arguments>
struct Through<Kernel, void (*)(Stream&, Arguments...)> {
  static void run(Stream&, Arguments... arguments) {
    inside = true;
    Passage passage;
    (device_stream().backend().*Kernel)(device_stream(), passage(arguments)...);
    passage.back();
    inside = false;
  }
};

Backend through_device() {
  if (const std::string& problem = cuda_plugin().problem; !problem.empty()) {
    std::printf("SKIPPED: %s\n", problem.c_str());
    std::fflush(stdout);
    std::_Exit(0);
  }
  Backend table{};
  table.name = "gpu";
  for_each_kernel([&]<auto Kernel>(const char*) { table.*Kernel = Through<Kernel>::run; });
  return table;
}

}  // namespace

const Backend& cpu_backend() {
  using Function = const Backend& (*)();
  static const auto original =
      reinterpret_cast<Function>(dlsym(RTLD_NEXT, "_ZN7tessera11cpu_backendEv"));
  if (inside) return original();
  static const Backend table = [] {
    inside = true;
    const Backend made = through_device();
    inside = false;
    return made;
  }();
  return table;
}

}  // namespace tessera
