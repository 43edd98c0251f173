// SPDX-License-Identifier: Apache-2.0
// Any bytes as a manifest: refused with Error{checkpoint}, or a manifest that survives being
// written and read again.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "checkpoint/manifest.h"
#include "kernels/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tessera;
  const std::string text(reinterpret_cast<const char*>(data), size);
  Manifest manifest;
  try {
    manifest = parse_manifest(text, "manifest");
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::checkpoint) std::abort();
    return 0;
  }
  const std::string written = to_json(manifest);
  if (to_json(parse_manifest(written, "written")) != written) std::abort();
  if (manifest.bytes() < 0 || commit_text(manifest, written).empty()) std::abort();
  return 0;
}
