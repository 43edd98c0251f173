// SPDX-License-Identifier: Apache-2.0
#include "trainer/replicas.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <sstream>

#include "checkpoint/checksum.h"
#include "checkpoint/host_copies.h"
#include "kernels/base/check.h"

namespace tessera {
namespace {

constexpr uint64_t kModulus = uint64_t{1} << 40;  // of sums: those of 2^23 ranks fit 64 bits

// Every bit of the result depends on every bit of x (the finalizer of SplitMix64, Steele et al.,
// "Fast splittable pseudorandom number generators", 2014).
uint64_t mixed(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

uint64_t key_of(const StateEntry& entry) {
  uint64_t key = crc32c(entry.name);
  for (const std::vector<int64_t>* numbers : {&entry.shard.box.offset, &entry.shard.box.extent})
    for (const int64_t number : *numbers) key = mixed(key ^ static_cast<uint64_t>(number)) + 1;
  return mixed(key);
}

bool is_weight(const StateEntry& entry) {
  return entry.role == "param" && entry.tensor.size() > 0;
}

uint32_t checksum_of(const Tensor& tensor) {
  return crc32c(tensor.data(), tensor.bytes());
}

bool all_finite(const Tensor& tensor) {
  const auto finite = [&](auto* values) {
    return std::all_of(values, values + tensor.size(),
                       [](auto value) { return std::isfinite(value); });
  };
  if (tensor.dtype() == DType::f64) return finite(tensor.as<double>());
  if (tensor.dtype() == DType::f32) return finite(tensor.as<float>());
  return true;  // weights are saved in these two types
}

std::string list_of(const std::vector<size_t>& ranks) {
  std::string text = ranks.size() > 1 ? "ranks " : "rank ";
  for (size_t i = 0; i < ranks.size(); ++i)
    text += (i == 0 ? "" : i + 1 < ranks.size() ? ", " : " and ") + std::to_string(ranks[i]);
  return text;
}

}  // namespace

void ReplicaCheck::find_replicas(const State& state) {
  held_.clear();
  for (size_t i = 0; i < state.entries.size(); ++i)
    if (is_weight(state.entries[i])) held_.push_back({.entry = i, .key = key_of(state.entries[i])});
  std::map<uint64_t, std::vector<size_t>> ranks;
  const std::vector<std::string> all = world_.all_gather(keys_, "replicas");
  for (size_t rank = 0; rank < all.size(); ++rank)
    for (size_t at = 0; at + sizeof(uint64_t) <= all[rank].size(); at += sizeof(uint64_t)) {
      uint64_t key = 0;
      std::memcpy(&key, all[rank].data() + at, sizeof key);
      ranks[key].push_back(rank);
    }
  for (Held& held : held_) {
    const std::vector<size_t>& holders = ranks[held.key];
    held.replicas = static_cast<int64_t>(holders.size());
    held.first = static_cast<int>(holders.front()) == world_.rank();
  }
  std::erase_if(held_, [](const Held& held) { return held.replicas < 2; });
}

void ReplicaCheck::operator()(const State& state) {
  if (world_.size() == 1) return;
  std::string keys;
  for (const StateEntry& entry : state.entries) {
    if (!is_weight(entry)) continue;
    const uint64_t key = key_of(entry);
    keys.append(reinterpret_cast<const char*>(&key), sizeof key);
  }
  const bool same = !keys_.empty() && keys == keys_;
  keys_ = std::move(keys);
  if (!world_.agree(same, "replicas")) find_replicas(state);

  std::vector<Tensor> tensors;
  for (const Held& held : held_) tensors.push_back(state.entries[held.entry].tensor);
  HostCopies copies(tensors);
  // Each rank but the first adds its checksum, the first takes its own away as often: equal ones
  // leave nothing.
  uint64_t sum = 0;
  for (Held& held : held_) {
    held.checksum = checksum_of(copies.next());
    const uint64_t term = mixed(held.key ^ held.checksum) % kModulus;
    const uint64_t others = static_cast<uint64_t>(held.replicas - 1) * term % kModulus;
    sum = (sum + (held.first ? kModulus - others : term)) % kModulus;
  }
  const int64_t total =
      world_.all_reduce(static_cast<int64_t>(sum), Reduce::sum, "checksums of replicas");
  if (static_cast<uint64_t>(total) % kModulus != 0) refuse(state);
}

// Called by all ranks; a few of them know more than the others.
void ReplicaCheck::refuse(const State& state) const {
  std::ostringstream mine;
  for (const Held& held : held_) {
    const StateEntry& entry = state.entries[held.entry];
    const bool finite = all_finite(HostCopies({entry.tensor}).next());
    mine << held.key << ' ' << held.checksum << ' ' << finite << ' ' << entry.name << '\n';
  }
  struct Tensors {
    std::string name;
    std::map<uint32_t, std::vector<size_t>> ranks;  // by checksum
    std::vector<size_t> not_finite;
  };
  std::map<uint64_t, Tensors> tensors;
  std::vector<uint64_t> order;
  const std::vector<std::string> all = world_.all_gather(mine.str(), "replicas that differ");
  for (size_t rank = 0; rank < all.size(); ++rank) {
    std::istringstream lines(all[rank]);
    uint64_t key = 0;
    uint32_t checksum = 0;
    bool finite = true;
    for (std::string name; lines >> key >> checksum >> finite >> name;) {
      if (!tensors.contains(key)) order.push_back(key);
      Tensors& tensor = tensors[key];
      tensor.name = name;
      tensor.ranks[checksum].push_back(rank);
      if (!finite) tensor.not_finite.push_back(rank);
    }
  }
  std::string text;
  size_t different = 0;
  for (const uint64_t key : order) {
    const Tensors& tensor = tensors[key];
    if (tensor.ranks.size() < 2 || different++ > 0) continue;
    size_t most = 0, holders = 0;
    for (const auto& [checksum, ranks] : tensor.ranks) {
      most = std::max(most, ranks.size());
      holders += ranks.size();
    }
    std::vector<size_t> outvoted;
    for (const auto& [checksum, ranks] : tensor.ranks)
      if (ranks.size() < most || 2 * most <= holders)
        outvoted.insert(outvoted.end(), ranks.begin(), ranks.end());
    std::sort(outvoted.begin(), outvoted.end());
    text = tensor.name + " of " + list_of(outvoted) +
           (outvoted.size() < holders ? " has other bits than that of the other " +
                                            std::to_string(holders - outvoted.size()) + " ranks"
                                      : " has not the same bits");
    if (!tensor.not_finite.empty())
      text += "; numbers that are not finite on " + list_of(tensor.not_finite);
  }
  fail(ErrorKind::numeric,
       "replicas of the weights differ: " + text +
           (different > 1 ? " (and " + std::to_string(different - 1) + " further tensors)" : "") +
           ". Nothing is saved. A memory or a computation of that rank's node went wrong: start "
           "again from the last checkpoint, without that node if it comes back");
}

}  // namespace tessera
