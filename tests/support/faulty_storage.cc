// SPDX-License-Identifier: Apache-2.0
#include "tests/support/faulty_storage.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <random>

#include "kernels/base/check.h"

namespace tessera {

struct FaultyStorage::Node {
  struct Write {
    size_t offset;
    std::string bytes;
    size_t grow_to;  // allocate(): the new size
  };
  struct NameChange {
    std::string removed, added;  // either may be empty; both: a rename
    std::shared_ptr<Node> node;  // what `added` names
    // The two halves of a rename across directories share it: true once one of them is durable.
    std::shared_ptr<bool> durable = nullptr;
  };
  using Names = std::map<std::string, std::shared_ptr<Node>>;

  bool directory = false;
  std::string bytes, synced_bytes;
  std::vector<Write> writes;  // since the last sync
  Names names, synced_names;
  std::vector<NameChange> changes;  // since the last sync

  static void apply(const Write& write, std::string& to) {
    to.resize(std::max({to.size(), write.grow_to, write.offset + write.bytes.size()}), '\0');
    std::copy(write.bytes.begin(), write.bytes.end(),
              to.begin() + static_cast<std::ptrdiff_t>(write.offset));
  }
  static void apply(const NameChange& change, Names& to) {
    if (!change.removed.empty()) to.erase(change.removed);
    if (!change.added.empty()) to[change.added] = change.node;
  }
  void write(Write change) {
    apply(change, bytes);
    writes.push_back(std::move(change));
  }
  void rename(NameChange change) {
    apply(change, names);
    changes.push_back(std::move(change));
  }
};

namespace {

using Node = FaultyStorage::Node;
using NodePtr = std::shared_ptr<Node>;

std::string last_name(const std::string& path) {
  return path.substr(path.find_last_of('/') + 1);
}

// Builds the disk that is found after a restart: new nodes, everything on them synced.
class Restart {
 public:
  Restart(Survival survival, uint64_t seed) : survival_(survival), random_(seed) {}

  NodePtr survivor(const NodePtr& node) {
    NodePtr& copy = copies_[node.get()];
    if (copy) return copy;
    copy = std::make_shared<Node>();
    copy->directory = node->directory;
    const NodePtr made = copy;  // copies_ may move below
    if (node->directory)
      made->names = made->synced_names = surviving_names(*node);
    else
      made->bytes = made->synced_bytes = surviving_bytes(*node);
    return made;
  }

 private:
  bool kept(bool is_name) {
    switch (survival_) {
      case Survival::nothing: return false;
      case Survival::names: return is_name;
      case Survival::everything: return true;
      case Survival::random: return random_() % 2 == 0;
    }
    return false;
  }

  bool survives(const Node::NameChange& change) {
    if (!change.durable) return kept(true);
    const auto [found, added] = decided_.emplace(change.durable.get(), *change.durable);
    if (added && !found->second) found->second = kept(true);
    return found->second;
  }

  std::string surviving_bytes(const Node& node) {
    std::string bytes = node.synced_bytes;
    for (Node::Write write : node.writes) {
      if (!kept(false)) continue;
      if (survival_ == Survival::random && random_() % 3 == 0)
        write.bytes.resize(random_() % (write.bytes.size() + 1));  // torn
      Node::apply(write, bytes);
    }
    return bytes;
  }

  Node::Names surviving_names(const Node& node) {
    Node::Names names = node.synced_names;
    for (const Node::NameChange& change : node.changes) {
      // A change whose first half did not happen cannot happen either.
      const bool possible = change.removed.empty() || names.count(change.removed) > 0;
      if (survives(change) && possible) Node::apply(change, names);
    }
    for (auto& [name, child] : names) child = survivor(child);
    return names;
  }

  Survival survival_;
  std::mt19937_64 random_;
  std::map<const Node*, NodePtr> copies_;
  std::map<const bool*, bool> decided_;  // about renames across directories
};

}  // namespace

class FaultyOutput : public OutputFile {
 public:
  FaultyOutput(FaultyStorage& disk, NodePtr node, std::string path)
      : disk_(disk), node_(std::move(node)), path_(std::move(path)) {}
  void allocate(int64_t bytes) override {
    const std::lock_guard lock(disk_.mutex_);
    if (disk_.enter(path_, FaultyStorage::Call::takes_room)) disk_.fail_with(path_, ENOSPC);
    node_->write({0, "", static_cast<size_t>(bytes)});
  }
  void write(int64_t offset, const void* data, int64_t bytes) override {
    const std::lock_guard lock(disk_.mutex_);
    const bool half = disk_.enter(path_, FaultyStorage::Call::takes_room);
    const auto count = static_cast<size_t>(half ? bytes / 2 : bytes);
    node_->write({static_cast<size_t>(offset), {static_cast<const char*>(data), count}, 0});
    if (half) disk_.fail_with(path_, ENOSPC);
  }
  void sync() override {
    const std::lock_guard lock(disk_.mutex_);
    const std::vector<Node::Write> unsynced = std::move(node_->writes);
    node_->writes.clear();
    disk_.enter(path_, FaultyStorage::Call::sync);  // when it throws, those writes are gone
    for (const Node::Write& write : unsynced) Node::apply(write, node_->synced_bytes);
  }
  void close() override {
    const std::lock_guard lock(disk_.mutex_);
    disk_.enter(path_, FaultyStorage::Call::sync);
  }

 private:
  FaultyStorage& disk_;
  NodePtr node_;
  std::string path_;
};

class FaultyInput : public InputFile {
 public:
  FaultyInput(FaultyStorage& disk, NodePtr node, std::string path)
      : disk_(disk), node_(std::move(node)), path_(std::move(path)) {}
  int64_t size() const override { return static_cast<int64_t>(node_->bytes.size()); }
  void read(int64_t offset, void* data, int64_t bytes) override {
    const std::lock_guard lock(disk_.mutex_);
    disk_.enter(path_, FaultyStorage::Call::harmless);
    check(offset + bytes <= size(), ErrorKind::checkpoint, path_ + ": is damaged: it ends early");
    std::memcpy(data, node_->bytes.data() + offset, static_cast<size_t>(bytes));
  }

 private:
  FaultyStorage& disk_;
  NodePtr node_;
  std::string path_;
};

FaultyStorage::FaultyStorage() : root_(std::make_shared<Node>()) {
  root_->directory = true;
}

FaultyStorage::FaultyStorage(FaultyStorage&& other) noexcept : root_(std::move(other.root_)) {}

void FaultyStorage::lose_power_at(int64_t call) {
  calls_ = 0;
  power_off_at_ = call;
}
void FaultyStorage::fail_at(int64_t call, int code) {
  calls_ = 0;
  fail_at_ = call;
  fail_code_ = code;
}
void FaultyStorage::run_full_at(int64_t call) {
  calls_ = 0;
  full_at_ = call;
}

FaultyStorage FaultyStorage::restarted(Survival survival, uint64_t seed) const {
  FaultyStorage disk;
  disk.root_ = Restart(survival, seed).survivor(root_);
  return disk;
}

bool FaultyStorage::enter(const std::string& path, Call call) {
  ++calls_;
  if (power_off_at_ > 0 && calls_ >= power_off_at_)
    fail(ErrorKind::storage, path + ": the power is off");
  if (calls_ == fail_at_) {
    if (fail_code_ == ENOSPC && call == Call::takes_room) return true;
    fail_with(path, fail_code_);
  }
  if (read_code_ != 0 && call == Call::harmless) fail_with(path, read_code_);
  if (capacity_ > 0 && call == Call::takes_room && bytes_of(*root_) >= capacity_) return true;
  return full_at_ > 0 && calls_ >= full_at_ && call == Call::takes_room;
}

int64_t FaultyStorage::bytes_of(const Node& node) const {
  auto bytes = static_cast<int64_t>(node.bytes.size());
  for (const auto& [name, child] : node.names) bytes += bytes_of(*child);
  return bytes;
}

void FaultyStorage::fail_with(const std::string& path, int code) const {
  fail(ErrorKind::storage, path + ": " + std::strerror(code));
}

std::shared_ptr<FaultyStorage::Node> FaultyStorage::find(const std::string& path) const {
  NodePtr node = root_;
  for (size_t start = 0; node && start < path.size();) {
    const size_t slash = std::min(path.find('/', start), path.size());
    const std::string name = path.substr(start, slash - start);
    if (!name.empty() && name != ".") {
      const auto found = node->names.find(name);
      node = found == node->names.end() ? nullptr : found->second;
    }
    start = slash + 1;
  }
  return node;
}

std::shared_ptr<FaultyStorage::Node> FaultyStorage::find_parent(const std::string& path) const {
  const NodePtr parent = find(parent_directory(path));
  if (!parent || !parent->directory) fail_with(path, ENOENT);
  return parent;
}

std::unique_ptr<OutputFile> FaultyStorage::create(const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (enter(path, Call::takes_room)) fail_with(path, ENOSPC);
  if (find(path)) fail_with(path, EEXIST);
  const NodePtr file = std::make_shared<Node>();
  find_parent(path)->rename({"", last_name(path), file});
  return std::make_unique<FaultyOutput>(*this, file, path);
}

std::unique_ptr<InputFile> FaultyStorage::open(const std::string& path) {
  const std::lock_guard lock(mutex_);
  enter(path, Call::harmless);
  const NodePtr node = find(path);
  if (!node || node->directory) fail_with(path, ENOENT);
  return std::make_unique<FaultyInput>(*this, node, path);
}

bool FaultyStorage::exists(const std::string& path) {
  const std::lock_guard lock(mutex_);
  enter(path, Call::harmless);
  return find(path) != nullptr;
}

std::vector<std::string> FaultyStorage::list(const std::string& directory) {
  const std::lock_guard lock(mutex_);
  enter(directory, Call::harmless);
  const NodePtr node = find(directory);
  if (!node || !node->directory) fail_with(directory, ENOENT);
  std::vector<std::string> names;
  for (const auto& [name, child] : node->names) names.push_back(name);
  return names;
}

void FaultyStorage::rename(const std::string& from, const std::string& to) {
  const std::lock_guard lock(mutex_);
  enter(from, Call::harmless);
  const NodePtr node = find(from), target = find(to);
  if (!node) fail_with(from, ENOENT);
  if (target && target->directory) fail_with(to, ENOTEMPTY);
  const NodePtr source = find_parent(from), goal = find_parent(to);
  if (source == goal) return source->rename({last_name(from), last_name(to), node});
  const auto durable = std::make_shared<bool>(false);
  goal->rename({"", last_name(to), node, durable});
  source->rename({last_name(from), "", nullptr, durable});
}

bool FaultyStorage::is_directory(const std::string& path) {
  const std::lock_guard lock(mutex_);
  enter(path, Call::harmless);
  const NodePtr node = find(path);
  return node && node->directory;
}

void FaultyStorage::remove(const std::string& path) {
  const std::lock_guard lock(mutex_);
  enter(path, Call::harmless);
  const NodePtr node = find(path);
  if (!node) fail_with(path, ENOENT);
  if (!node->names.empty()) fail_with(path, ENOTEMPTY);
  find_parent(path)->rename({last_name(path), "", nullptr});
}

void FaultyStorage::make_directory(const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (enter(path, Call::takes_room)) fail_with(path, ENOSPC);
  if (find(path)) fail_with(path, EEXIST);
  const NodePtr directory = std::make_shared<Node>();
  directory->directory = true;
  find_parent(path)->rename({"", last_name(path), directory});
}

void FaultyStorage::sync_directory(const std::string& path) {
  const std::lock_guard lock(mutex_);
  enter(path, Call::sync);
  const NodePtr node = find(path);
  if (!node || !node->directory) fail_with(path, ENOENT);
  if (!honest_) return;
  for (const Node::NameChange& change : node->changes) {
    Node::apply(change, node->synced_names);
    if (change.durable) *change.durable = true;
  }
  node->changes.clear();
}

}  // namespace tessera
