// SPDX-License-Identifier: Apache-2.0
#include "launch/build_id.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string_view>

#include <elf.h>
#include <link.h>

#include "launch/version.h"

namespace tessera {
namespace {

constexpr size_t kShownBytes = 8;

struct Search {
  uintptr_t inside;  // an address in the object that is looked for
  std::string id;
};

std::string hex(const unsigned char* bytes, size_t count) {
  std::string text;
  char digits[3];
  for (size_t i = 0; i < count; ++i) {
    std::snprintf(digits, sizeof digits, "%02x", bytes[i]);
    text += digits;
  }
  return text;
}

// The notes of a segment lie one after the other; names and contents are padded to four bytes.
std::string id_among(const unsigned char* notes, size_t size) {
  const auto padded = [](size_t bytes) { return (bytes + 3) / 4 * 4; };
  for (size_t at = 0; at + sizeof(ElfW(Nhdr)) <= size;) {
    ElfW(Nhdr) note;
    std::memcpy(&note, notes + at, sizeof note);
    const size_t name = at + sizeof note, content = name + padded(note.n_namesz);
    const size_t end = content + padded(note.n_descsz);
    if (end > size) return "";
    const std::string_view owner(reinterpret_cast<const char*>(notes + name), note.n_namesz);
    if (note.n_type == NT_GNU_BUILD_ID && owner == std::string_view("GNU", 4))
      return hex(notes + content, std::min<size_t>(note.n_descsz, kShownBytes));
    at = end;
  }
  return "";
}

int look_into(dl_phdr_info* object, size_t, void* argument) {
  Search& search = *static_cast<Search*>(argument);
  bool holds = false;
  for (int i = 0; i < object->dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = object->dlpi_phdr[i];
    const uintptr_t begin = object->dlpi_addr + segment.p_vaddr;
    holds |= segment.p_type == PT_LOAD && search.inside >= begin &&
             search.inside < begin + segment.p_memsz;
  }
  if (!holds) return 0;  // goes on to the next object
  for (int i = 0; i < object->dlpi_phnum && search.id.empty(); ++i) {
    const ElfW(Phdr)& segment = object->dlpi_phdr[i];
    if (segment.p_type == PT_NOTE)
      search.id =
          id_among(reinterpret_cast<const unsigned char*>(object->dlpi_addr + segment.p_vaddr),
                   segment.p_memsz);
  }
  return 1;
}

}  // namespace

std::string build_id() {
  Search search{reinterpret_cast<uintptr_t>(&look_into), ""};
  dl_iterate_phdr(look_into, &search);
  return search.id;
}

std::string program_identity() {
  const std::string id = build_id();
  return version_string() + (id.empty() ? "" : ", build " + id);
}

}  // namespace tessera
