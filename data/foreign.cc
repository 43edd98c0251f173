// SPDX-License-Identifier: Apache-2.0
#include "data/foreign.h"

namespace tessera {
namespace {

using namespace std::string_view_literals;

struct Format {
  std::string_view magic;
  const char* what;
  size_t at = 0;
};

const char* const kTable =
    "Parquet: write it as JSON Lines, e.g. with pandas' "
    "to_json(orient='records', lines=True)";

const char* const kBzip2 = "compressed with bzip2: bunzip2, or compress it with zstd or gzip";

// A longer magic stands before one that it begins with.
const Format kFormats[] = {
    {"\xfd\x37zXZ\0"sv, "compressed with xz: xz -d, or compress it with zstd or gzip"},
    {"BZh11AY&SY"sv, kBzip2},
    {"BZh21AY&SY"sv, kBzip2},
    {"BZh31AY&SY"sv, kBzip2},
    {"BZh41AY&SY"sv, kBzip2},
    {"BZh51AY&SY"sv, kBzip2},
    {"BZh61AY&SY"sv, kBzip2},
    {"BZh71AY&SY"sv, kBzip2},
    {"BZh81AY&SY"sv, kBzip2},
    {"BZh91AY&SY"sv, kBzip2},
    {"\x04\x22\x4d\x18"sv, "compressed with lz4: lz4 -d, or compress it with zstd or gzip"},
    {"\x02\x21\x4c\x18"sv, "compressed with lz4: lz4 -d, or compress it with zstd or gzip"},
    {"LZIP\x01"sv, "compressed with lzip: lzip -d, or compress it with zstd or gzip"},
    {"\x5d\0\0"sv, "compressed with lzma: xz -d, or compress it with zstd or gzip"},
    {"\xff\x06\0\0sNaPpY"sv, "compressed with Snappy: decompress it first"},
    {"\x1f\x9d"sv, "compressed with compress: uncompress it first"},
    {"\x1f\x8b"sv, "compressed with gzip twice: gunzip it once"},
    {"\x28\xb5\x2f\xfd"sv, "compressed with zstd twice: unzstd it once"},
    {"PK\x03\x04"sv, "a zip archive: unzip it first"},
    {"PK\x05\x06"sv, "a zip archive: unzip it first"},
    {"7z\xbc\xaf\x27\x1c"sv, "a 7-Zip archive: unpack it first"},
    {"Rar!\x1a\x07"sv, "a RAR archive: unpack it first"},
    {"ustar"sv, "a tar archive: unpack it first", 257},
    {"PAR1"sv, kTable},
    {"ARROW1\0"sv, "an Arrow file: write it as JSON Lines"},
    {"Obj\x01"sv, "an Avro file: write it as JSON Lines"},
    {"\x89HDF\r\n\x1a\n"sv, "an HDF5 file: write its text as JSON Lines"},
    {"SQLite format 3\0"sv, "an SQLite database: write its text as JSON Lines"},
    {"\x7f"
     "ELF"sv,
     "a program (ELF)"},
    {"%PDF-"sv, "a PDF: extract its text, e.g. with pdftotext"},
    {"\x89PNG\r\n\x1a\n"sv, "a picture (PNG)"},
    {"\xff\xd8\xff"sv, "a picture (JPEG)"},
    {"\xff\xfe\0\0"sv, "text in UTF-32: iconv -f UTF-32 -t UTF-8"},
    {"\0\0\xfe\xff"sv, "text in UTF-32: iconv -f UTF-32 -t UTF-8"},
    {"\xff\xfe"sv, "text in UTF-16: iconv -f UTF-16 -t UTF-8"},
    {"\xfe\xff"sv, "text in UTF-16: iconv -f UTF-16 -t UTF-8"},
};

}  // namespace

std::string foreign_format(std::string_view head) {
  for (const Format& format : kFormats)
    if (head.size() >= format.at && head.substr(format.at).starts_with(format.magic))
      return format.what;
  return "";
}

}  // namespace tessera
