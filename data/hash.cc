// SPDX-License-Identifier: Apache-2.0
#include "data/hash.h"

#include <openssl/evp.h>

#include "kernels/base/check.h"

namespace tessera {

struct Sha256::Context {
  EVP_MD_CTX* native = EVP_MD_CTX_new();
  ~Context() { EVP_MD_CTX_free(native); }
};

Sha256::Sha256() : context_(std::make_unique<Context>()) {
  check(context_->native != nullptr && EVP_DigestInit_ex(context_->native, EVP_sha256(), nullptr),
        "libcrypto has no SHA-256");
}

Sha256::~Sha256() = default;

void Sha256::update(const void* data, size_t size) {
  check(EVP_DigestUpdate(context_->native, data, size) == 1, "SHA-256 failed");
}

std::array<uint8_t, 32> Sha256::digest() {
  std::array<uint8_t, 32> bytes{};
  check(EVP_DigestFinal_ex(context_->native, bytes.data(), nullptr) == 1, "SHA-256 failed");
  return bytes;
}

std::string Sha256::hex() {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const uint8_t byte : digest()) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

std::string sha256_hex(std::string_view text) {
  Sha256 hash;
  hash.update(text);
  return hash.hex();
}

}  // namespace tessera
