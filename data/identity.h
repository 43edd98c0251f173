// SPDX-License-Identifier: Apache-2.0
// Token files are known here by what they hold, not by where they lie. PREFIX.json records the
// SHA-256 of PREFIX.bin, so nothing large is read here; `tessera data verify` does that.
#pragma once

#include <string>

#include "data/token_file.h"

namespace tessera {

// Returns "sha256:HEX BYTES", both of PREFIX.bin, or "BYTES" alone where PREFIX.json records no
// hash, for instance in files made by others.
std::string identity_of(const TokenFile& file);

// Returns false when the two identities are of different contents. Without a hash on both sides
// sizes are all that can be compared.
bool may_be_equal(const std::string& a, const std::string& b);

// Shortens an identity for a message: "sha256:0123456789abcdef (4096 bytes)".
std::string brief_identity(const std::string& identity);

// Returns a sentence when PREFIX.bin was written after PREFIX.json, whose hash may then be of
// earlier contents, else nothing. It is only a hint, since copying files changes their times, too.
std::string doubt_about(const TokenFile& file);

}  // namespace tessera
