// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/storage.h"

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

void remove_directory(Storage& storage, const std::string& path) {
  for (const std::string& file : storage.list(path)) storage.remove(path + "/" + file);
  storage.remove(path);
}

}  // namespace tessera
