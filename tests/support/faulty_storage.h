// SPDX-License-Identifier: Apache-2.0
// A file system in memory that can fail at any call and lose power at any call, then be restarted
// with no more than what it promised to keep (checkpoint/storage.h): bytes of synced files, names
// of synced directories. What was not synced may survive in whole, in part, torn, or in any order;
// a rename is atomic. A file whose sync failed keeps nothing of what that sync was to save.
//
//   FaultyStorage disk;            disk.lose_power_at(17);
//   try { save(disk); } ...        FaultyStorage later = disk.restarted(Survival::random, 3);
//
// Thread-safe. A rename from one directory to another happens as a whole or not at all.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "checkpoint/storage.h"

namespace tessera {

enum class Survival {
  nothing,     // only what was synced
  names,       // every name, but file contents only as synced: the metadata was quicker
  everything,  // the process died, the machine did not
  random       // each unsynced change or not, the last kept write of a file perhaps torn
};

class FaultyStorage : public Storage {
 public:
  struct Node;  // a file or directory

  FaultyStorage();
  FaultyStorage(FaultyStorage&& other) noexcept;

  int64_t calls() const { return calls_; }            // of any kind, since the last plan was made
  int64_t bytes() const { return bytes_of(*root_); }  // of all files
  void lose_power_at(int64_t call);      // from that call on (1: the next) nothing happens
  void fail_at(int64_t call, int code);  // that one call fails with this errno
  void run_full_at(int64_t call);        // from then on whatever takes room fails: ENOSPC
  // A call that takes room fails while the disk holds this many bytes of files or more.
  void hold_at_most(int64_t bytes) { capacity_ = bytes; }
  void fail_reads(int code) { read_code_ = code; }    // from now on whatever only looks fails
  void forget_directory_syncs() { honest_ = false; }  // a broken disk, to test the tests

  // The same disk after power has come back; *this stays as it is.
  FaultyStorage restarted(Survival survival, uint64_t seed = 0) const;

  std::unique_ptr<OutputFile> create(const std::string& path) override;
  std::unique_ptr<InputFile> open(const std::string& path) override;
  bool exists(const std::string& path) override;
  std::vector<std::string> list(const std::string& directory) override;
  void rename(const std::string& from, const std::string& to) override;
  void remove(const std::string& path) override;
  void make_directory(const std::string& path) override;
  void sync_directory(const std::string& path) override;
  bool is_directory(const std::string& path) override;

 private:
  friend class FaultyOutput;
  friend class FaultyInput;
  enum class Call { harmless, takes_room, sync };
  // Counts the call; throws when it is to fail. True: do half of it, then fail.
  bool enter(const std::string& path, Call call);
  [[noreturn]] void fail_with(const std::string& path, int code) const;
  int64_t bytes_of(const Node& node) const;
  std::shared_ptr<Node> find(const std::string& path) const;  // nullptr: not there
  std::shared_ptr<Node> find_parent(const std::string& path) const;

  mutable std::mutex mutex_;
  std::shared_ptr<Node> root_;
  int64_t calls_ = 0;
  int64_t capacity_ = 0;                                  // 0: endless
  int64_t power_off_at_ = 0, fail_at_ = 0, full_at_ = 0;  // 0: never
  int fail_code_ = 0, read_code_ = 0;
  bool honest_ = true;
};

}  // namespace tessera
