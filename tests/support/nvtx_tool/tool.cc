// SPDX-License-Identifier: Apache-2.0
// A profiler in the sense of NVTX ($NVTX_INJECTION64_PATH): writes down the names of ranges as they
// begin and end, as text. Knows one domain.
#include <string>

#include <nvtx3/nvToolsExt.h>

namespace {

struct Domain {
  std::string name;
  std::string heard;
};
Domain& domain() {
  static Domain only;
  return only;
}

nvtxDomainHandle_t create(const char* name) {
  domain().name = name;
  return reinterpret_cast<nvtxDomainHandle_t>(&domain());
}
void name_category(nvtxDomainHandle_t of, uint32_t number, const char* name) {
  reinterpret_cast<Domain*>(of)->heard += std::to_string(number) + "=" + name + " ";
}
int push(nvtxDomainHandle_t of, const nvtxEventAttributes_t* what) {
  reinterpret_cast<Domain*>(of)->heard +=
      "+" + std::to_string(what->category) + ":" + what->message.ascii + " ";
  return 0;
}
int pop(nvtxDomainHandle_t of) {
  reinterpret_cast<Domain*>(of)->heard += "- ";
  return 0;
}

template <typename Function>
void take(NvtxFunctionTable table, int id, Function* function) {
  *table[id] = reinterpret_cast<NvtxFunctionPointer>(function);
}

}  // namespace

extern "C" const char* tessera_nvtx_tool_heard() {
  static std::string text;
  text = domain().name + ": " + domain().heard;
  return text.c_str();
}

extern "C" int InitializeInjectionNvtx2(NvtxGetExportTableFunc_t get_export_table) {
  const auto* callbacks =
      static_cast<const NvtxExportTableCallbacks*>(get_export_table(NVTX_ETID_CALLBACKS));
  NvtxFunctionTable table = nullptr;
  unsigned size = 0;
  if (callbacks == nullptr ||
      callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE2, &table, &size) == 0)
    return 0;
  take(table, NVTX_CBID_CORE2_DomainCreateA, create);
  take(table, NVTX_CBID_CORE2_DomainNameCategoryA, name_category);
  take(table, NVTX_CBID_CORE2_DomainRangePushEx, push);
  take(table, NVTX_CBID_CORE2_DomainRangePop, pop);
  return 1;
}
