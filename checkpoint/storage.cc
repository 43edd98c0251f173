// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/storage.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "kernels/base/check.h"

namespace tessera {

std::string parent_directory(const std::string& path) {
  const size_t end = path.find_last_not_of('/');
  if (end == std::string::npos) return "/";
  const size_t slash = path.find_last_of('/', end);
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

void make_directories(Storage& storage, const std::string& path) {
  if (storage.exists(path)) return;
  const std::string parent = parent_directory(path);
  make_directories(storage, parent);
  storage.make_directory(path);
  storage.sync_directory(parent);
}

void write_file(Storage& storage, const std::string& path, std::string_view text) {
  const std::unique_ptr<OutputFile> file = storage.create(path);
  file->write(0, text.data(), static_cast<int64_t>(text.size()));
  file->sync();
  file->close();
}

std::string read_file(Storage& storage, const std::string& path, int64_t limit) {
  const std::unique_ptr<InputFile> file = storage.open(path);
  const int64_t bytes = file->size();
  check(bytes <= limit, ErrorKind::checkpoint, path + ": is damaged:", bytes,
        "bytes, more than the", limit, "allowed for such a file");
  std::string text(static_cast<size_t>(bytes), '\0');
  file->read(0, text.data(), bytes);
  return text;
}

void check_removable(const std::string& path, const std::vector<std::string>& names,
                     bool (*ours)(std::string_view)) {
  for (const std::string& name : names)
    check(ours(name), ErrorKind::storage,
          path + ": is left alone, for it holds `" + name +
              "`, which no checkpoint has; look at it and remove "
              "the directory by hand");
}

void Storage::remove_directory(const std::string& path, bool (*ours)(std::string_view),
                               const char* mark) {
  if (!is_directory(path)) return remove(path);
  const std::vector<std::string> names = list(path);
  check_removable(path, names, ours);
  if (std::find(names.begin(), names.end(), mark) != names.end()) {
    remove(path + "/" + mark);
    sync_directory(path);
  }
  for (const std::string& name : names)
    if (name != mark) remove(path + "/" + name);
  remove(path);
}

int64_t Storage::free_bytes(const std::string&) {
  return INT64_MAX;
}

int64_t directory_bytes(Storage& storage, const std::string& path) {
  int64_t bytes = 0;
  for (const std::string& name : storage.list(path))
    if (!storage.is_directory(path + "/" + name)) bytes += storage.open(path + "/" + name)->size();
  return bytes;
}

bool lacks_room(const std::exception& error) {
  const std::string text = error.what();
  for (const int code : {ENOSPC, EDQUOT})
    if (text.find(std::strerror(code)) != std::string::npos) return true;
  return false;
}

}  // namespace tessera
