// SPDX-License-Identifier: Apache-2.0
// A mapped file that somebody makes shorter ends whoever reads beyond its new end by SIGBUS, which
// says nothing. With a guard the process says which file it was and ends with the exit code of
// Error{data} (3): the pages are gone, so nothing can be returned to the reader.
#pragma once

#include <cstddef>
#include <string>

namespace tessera {

// Thread-safe. The first call installs the handler of SIGBUS; a SIGBUS elsewhere goes on to the
// handler that was there before.
void guard_mapping(const void* begin, size_t bytes, const std::string& path);
void forget_mapping(const void* begin);  // before it goes

}  // namespace tessera
