// SPDX-License-Identifier: Apache-2.0
#include "parallel/waiting_notes.h"

#include <cstdio>
#include <fstream>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace tessera {
namespace {

constexpr size_t kMostNamed = 8;
constexpr const char* kBusy = "busy: ";
constexpr const char* kWaits = "waits: ";

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < names.size() && i < kMostNamed; ++i)
    text += (i > 0 ? ", " : "") + names[i];
  if (names.size() > kMostNamed)
    text += " and " + std::to_string(names.size() - kMostNamed) + " more";
  return text;
}

}  // namespace

WaitingNotes::WaitingNotes(std::string directory, int rank, int size)
    : directory_(std::move(directory)), rank_(rank), size_(size) {}

std::string WaitingNotes::path(int rank) const {
  char name[32];
  std::snprintf(name, sizeof name, "/rank-%04d.waiting", rank);
  return directory_ + name;
}

// The note appears whole: others may be reading it.
bool WaitingNotes::write(bool busy, const std::string& where) const {
  if (size_ == 0) return false;
  const std::string name = path(rank_), draft = name + ".tmp",
                    text = (busy ? kBusy : kWaits) + where;
  ::unlink(draft.c_str());
  const int file =
      ::open(draft.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
  if (file < 0) return false;
  const bool whole = ::write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  ::close(file);
  if (whole && ::rename(draft.c_str(), name.c_str()) == 0) return true;
  ::unlink(draft.c_str());
  return false;
}

void WaitingNotes::remove() const {
  if (size_ > 0) ::unlink(path(rank_).c_str());
}

bool WaitingNotes::everybody_wrote() const {
  struct stat facts = {};
  for (int rank = 0; rank < size_; ++rank)
    if (::stat(path(rank).c_str(), &facts) != 0) return false;
  return true;
}

std::string WaitingNotes::missing(const std::string& where) const {
  std::vector<std::string> silent, busy, elsewhere;
  for (int rank = 0; rank < size_; ++rank) {
    if (rank == rank_) continue;
    const std::string name = "rank " + std::to_string(rank);
    std::string note;
    if (!std::getline(std::ifstream(path(rank)), note))
      silent.push_back(name);
    else if (note.starts_with(kBusy))
      busy.push_back(name + " (" + note.substr(std::string(kBusy).size()) + ")");
    else if (note != kWaits + where)
      elsewhere.push_back(name + " (in " + note.substr(std::string(kWaits).size()) + ")");
  }
  return listed(!silent.empty() ? silent : !busy.empty() ? busy : elsewhere);
}

}  // namespace tessera
