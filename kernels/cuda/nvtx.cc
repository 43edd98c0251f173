// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/nvtx.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include <nvtx3/nvToolsExt.h>

#include "kernels/base/trace.h"

namespace tessera::cuda {
namespace {

// Those of the Ranges of this program; NVTX numbers them from 1.
constexpr std::array<std::string_view, 4> kCategories = {"step", "compute", "comm", "copy"};

class Annotations : public trace::Listener {
 public:
  explicit Annotations(nvtxDomainHandle_t domain) : domain_(domain) {
    for (const std::string_view category : kCategories)
      nvtxDomainNameCategoryA(domain_, number(category), std::string(category).c_str());
  }

  void begin(const std::string& name, std::string_view category) override {
    nvtxEventAttributes_t attributes{};
    attributes.version = NVTX_VERSION;
    attributes.size = NVTX_EVENT_ATTRIB_STRUCT_SIZE;
    attributes.category = number(category);
    attributes.messageType = NVTX_MESSAGE_TYPE_ASCII;
    attributes.message.ascii = name.c_str();
    nvtxDomainRangePushEx(domain_, &attributes);
  }
  void end() override { nvtxDomainRangePop(domain_); }

 private:
  // 0, of one that is not listed: none.
  static uint32_t number(std::string_view category) {
    const auto found = std::find(kCategories.begin(), kCategories.end(), category);
    return found == kCategories.end() ? 0 : static_cast<uint32_t>(found - kCategories.begin()) + 1;
  }

  nvtxDomainHandle_t domain_;
};

}  // namespace

// The header looks for a profiler at its first call; without one there is no domain.
void tell_profilers_of_ranges() {
  const nvtxDomainHandle_t domain = nvtxDomainCreateA("tessera");
  if (domain != nullptr) trace::listen(new Annotations(domain));
}

}  // namespace tessera::cuda
