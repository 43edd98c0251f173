// SPDX-License-Identifier: Apache-2.0
// The questions that a checkpoint asks of a file system, and PosixStorage, which answers them.
// Tests put a file system here that loses power (tests/support/faulty_storage.h).
//
// What may be relied on, and no more: bytes written are durable after the file's sync(); a name
// (created, renamed or removed) is durable after sync_directory() of its directory; rename() is
// atomic, also from one directory of the same file system to another. Every failure is
// Error{storage} with the path and the system's own words. A Storage may be used from several
// threads, a file from one.
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {

// A new file. After a failure of sync() nothing is known about any byte written before: throw the
// file away, never sync it again (fsync reports a lost page once).
class OutputFile {
 public:
  virtual ~OutputFile() = default;  // closes, silently; call close() first where success matters
  virtual void allocate(int64_t bytes) = 0;  // sets the size and takes the room now, or fails
  virtual void write(int64_t offset, const void* data, int64_t bytes) = 0;
  virtual void sync() = 0;
  virtual void close() = 0;
};

class InputFile {
 public:
  virtual ~InputFile() = default;
  virtual int64_t size() const = 0;
  // Exactly `bytes` bytes; a file that ends before them is Error{checkpoint}.
  virtual void read(int64_t offset, void* data, int64_t bytes) = 0;
};

class Storage {
 public:
  virtual ~Storage() = default;
  virtual std::unique_ptr<OutputFile> create(const std::string& path) = 0;  // must not exist
  // Throws Error{checkpoint} when something is there that is no regular file.
  virtual std::unique_ptr<InputFile> open(const std::string& path) = 0;
  virtual bool exists(const std::string& path) = 0;
  virtual std::vector<std::string> list(const std::string& directory) = 0;  // names, sorted
  virtual void rename(const std::string& from, const std::string& to) = 0;
  virtual void remove(const std::string& path) = 0;          // a file or an empty directory
  virtual void make_directory(const std::string& path) = 0;  // must not exist, its parent must
  virtual void sync_directory(const std::string& path) = 0;
  // True for a directory itself, false for a link to one and for everything else.
  virtual bool is_directory(const std::string& path) = 0;
  // Removes a directory together with the files in it. `ours` tells which names may go; when there
  // is any other, Error{storage} names it and nothing is removed. The file `mark`, where there is
  // one, goes first, and that is durable before any other goes. No link is followed: a link that
  // stands at `path` is removed itself, and what it points to stays.
  virtual void remove_directory(const std::string& path, bool (*ours)(std::string_view),
                                const char* mark);
  // The room left for new files at `path`, which exists; INT64_MAX where that is not known.
  virtual int64_t free_bytes(const std::string& path);
};

// The local file system, or anything mounted as one. Files are made with mode 0640, directories
// with 0750 (less the umask); create() follows no symbolic link. Ignores SIGXFSZ for the process,
// so that a file size limit is an Error.
class PosixStorage : public Storage {
 public:
  PosixStorage();
  std::unique_ptr<OutputFile> create(const std::string& path) override;
  std::unique_ptr<InputFile> open(const std::string& path) override;
  bool exists(const std::string& path) override;
  std::vector<std::string> list(const std::string& directory) override;
  void rename(const std::string& from, const std::string& to) override;
  void remove(const std::string& path) override;
  void make_directory(const std::string& path) override;
  void sync_directory(const std::string& path) override;
  bool is_directory(const std::string& path) override;
  void remove_directory(const std::string& path, bool (*ours)(std::string_view),
                        const char* mark) override;
  int64_t free_bytes(const std::string& path) override;
};

// Creates the directory and its missing parents, durably.
void make_directories(Storage& storage, const std::string& path);
// A small file at once: create, write, sync, close. The caller syncs the directory.
void write_file(Storage& storage, const std::string& path, std::string_view text);
// The whole of a small file. More than `limit` bytes is Error{checkpoint}.
std::string read_file(Storage& storage, const std::string& path, int64_t limit);
// The bytes of all files that stand directly in a directory.
int64_t directory_bytes(Storage& storage, const std::string& path);
// True when an Error{storage} says that the disk or the quota is full.
bool lacks_room(const std::exception& error);
// Error{storage} for the first of `names` in the directory `path` that `ours` does not know.
void check_removable(const std::string& path, const std::vector<std::string>& names,
                     bool (*ours)(std::string_view));
std::string parent_directory(const std::string& path);  // "." for a bare name

}  // namespace tessera
