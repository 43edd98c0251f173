// SPDX-License-Identifier: Apache-2.0
// Some files are no text, which their first bytes tell: files compressed in a way that is not read
// here, archives, tables, programs, pictures, and text in UTF-16 or UTF-32. They would become
// tokens without an error if they were taken for text.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace tessera {

// foreign_format() wants so many bytes of a file's beginning, if the file has them.
inline constexpr size_t kForeignHead = 512;

// Says what a file with this beginning is and what to do with it, as the end of the sentence "NAME
// is ..."; empty for anything that may be text. gzip and zstd are foreign, too: data/byte_stream.h
// has taken them away, so that what is left of them was compressed twice.
std::string foreign_format(std::string_view head);

}  // namespace tessera
