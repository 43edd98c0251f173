// SPDX-License-Identifier: Apache-2.0
// SHA-256 (FIPS 180-4), which names tokenizers and inputs. hash.cc is the only home of libcrypto.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace tessera {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  void update(const void* data, size_t size);
  void update(std::string_view text) { update(text.data(), text.size()); }
  std::array<uint8_t, 32> digest();  // once, at the end
  std::string hex();                 // the digest as 64 lower-case digits; once, at the end

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

std::string sha256_hex(std::string_view text);

}  // namespace tessera
