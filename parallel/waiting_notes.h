// SPDX-License-Identifier: Apache-2.0
// Files in which ranks that wait tell each other where they are (parallel/section.h). Everything
// here may block for as long as the file system does. Not thread-safe.
#pragma once

#include <string>

namespace tessera {

class WaitingNotes {
 public:
  WaitingNotes() = default;  // nowhere: writes nothing, knows nothing
  WaitingNotes(std::string directory, int rank, int size);

  // `busy`: this rank does not wait for others. Returns false where it could not be written.
  bool write(bool busy, const std::string& where) const;
  void remove() const;
  bool everybody_wrote() const;
  // Those that `where` waits for: the ranks without a note, else those that are busy elsewhere,
  // else those that wait elsewhere, each with its place. "rank 1, rank 3"; empty where nobody is
  // known.
  std::string missing(const std::string& where) const;

 private:
  std::string path(int rank) const;
  std::string directory_;
  int rank_ = 0, size_ = 0;
};

}  // namespace tessera
