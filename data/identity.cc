// SPDX-License-Identifier: Apache-2.0
#include "data/identity.h"

#include <chrono>
#include <filesystem>

namespace tessera {
namespace {

struct Parts {
  std::string hash;  // empty: not recorded
  std::string bytes;
};

Parts parts_of(const std::string& identity) {
  const size_t space = identity.find(' ');
  if (space == std::string::npos) return {"", identity};
  return {identity.substr(0, space), identity.substr(space + 1)};
}

}  // namespace

std::string identity_of(const TokenFile& file) {
  const std::string bytes = std::to_string(file.bin_bytes().size());
  const std::string& hash = file.info().bin_sha256;
  return hash.empty() ? bytes : "sha256:" + hash + " " + bytes;
}

bool may_be_equal(const std::string& a, const std::string& b) {
  const Parts x = parts_of(a), y = parts_of(b);
  return x.bytes == y.bytes && (x.hash.empty() || y.hash.empty() || x.hash == y.hash);
}

std::string brief_identity(const std::string& identity) {
  constexpr size_t kShown = std::string_view("sha256:0123456789abcdef").size();
  const Parts parts = parts_of(identity);
  if (parts.hash.empty()) return parts.bytes + " bytes without a hash";
  return parts.hash.substr(0, kShown) + " (" + parts.bytes + " bytes)";
}

std::string doubt_about(const TokenFile& file) {
  namespace fs = std::filesystem;
  constexpr auto kClockGrain = std::chrono::seconds(2);  // of the coarsest file systems
  if (file.info().bin_sha256.empty()) return "";
  std::error_code no_bin, no_json;
  const auto bin = fs::last_write_time(file.bin_path(), no_bin);
  const auto json = fs::last_write_time(file.prefix() + ".json", no_json);
  if (no_bin || no_json || bin <= json + kClockGrain) return "";
  return file.bin_path() + " was written after " + file.prefix() +
         ".json, whose hash is taken for its own: tessera data verify " + file.prefix() +
         " tells whether it is";
}

}  // namespace tessera
