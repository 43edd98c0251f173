// SPDX-License-Identifier: Apache-2.0
// The plugin's border: opened, called, and its errors caught on this side; kernels that a backend
// lacks. (Plugins that cannot be opened: tests/e2e/device_test.cc.)
#include "kernels/cuda_plugin.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/copy.h"
#include "kernels/kernel_list.h"
#include "kernels/plugin_abi.h"
#include "tests/support/stand_in.h"

namespace tessera::test {
namespace {

using testing::HasSubstr;

TEST(CudaPlugin, IsOpenedFromWhereTheEnvironmentSays) {
  const CudaPlugin& plugin = cuda_plugin();
  EXPECT_EQ(plugin.problem, "");
  EXPECT_EQ(plugin.path, TESSERA_CUDA_STAND_IN);
  EXPECT_EQ(&cuda_accelerator(), plugin.accelerator);
  EXPECT_EQ(plugin.accelerator->count(), 1);
  EXPECT_EQ(plugin.accelerator->facts(0).name, "stand-in");
  EXPECT_TRUE(gpu_in_sight());
}

TEST(CudaPlugin, AnErrorThrownInItIsCaughtOnThisSide) {
  try {
    cuda_accelerator().facts(7);
    FAIL() << "there is no such device";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_THAT(error.what(), HasSubstr("there is no device 7"));
    EXPECT_THAT(error.where().file, HasSubstr("plugin.cc"));
  }
}

TEST(CudaPlugin, AbiNamesWhatCrossesTheBorder) {
  EXPECT_EQ(plugin_abi(), compiled_plugin_abi());
  EXPECT_THAT(plugin_abi(), HasSubstr("tensor " + std::to_string(sizeof(Tensor))));
}

TEST(KernelList, HoldsEveryKernelOnce) {
  std::set<std::string> names;
  std::set<const void*> places;
  const Backend& cpu = cpu_backend();
  for_each_kernel([&]<auto Kernel>(const char* name) {
    names.insert(name);
    places.insert(&(cpu.*Kernel));
    EXPECT_NE(cpu.*Kernel, nullptr) << name;
  });
  const size_t kernels = sizeof(Backend) / sizeof(void*) - 1;  // one is the backend's name
  EXPECT_EQ(names.size(), kernels);
  EXPECT_EQ(places.size(), kernels);
}

TEST(KernelList, AKernelThatABackendLacksThrowsItsName) {
  Backend partial = cpu_backend();
  partial.fill = nullptr;
  partial.adamw_update = nullptr;
  const Backend whole = without_nulls(partial);
  EXPECT_EQ(whole.copy, partial.copy);
  Stream stream(Device{});
  const Tensor x(Device{}, DType::f32, {3});
  try {
    whole.fill(stream, 1, x);
    FAIL() << "there is no such kernel";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_THAT(error.what(), HasSubstr("the kernel fill is not written for cpu"));
  }
  EXPECT_THROW(whole.adamw_update(stream, {}, x, {}), Error);
}

}  // namespace
}  // namespace tessera::test
