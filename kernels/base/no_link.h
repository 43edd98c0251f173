// SPDX-License-Identifier: Apache-2.0
// Files with names that anybody can guess, in directories that others may write: a link put there
// beforehand would send what we write into somebody else's file.
#pragma once

#include <string>

namespace tessera {

// Opens `path` for appending, and makes it where it is missing, but follows no symbolic link: the
// system refuses one in the same call (O_NOFOLLOW), so nobody can put it there in between. Then
// name() leads to the very file that was opened, whatever is done to `path` meanwhile, and a stream
// may open that. Error{storage} for a link, for what is no regular file, and where the system says
// no.
class NoLink {
 public:
  explicit NoLink(const std::string& path);
  ~NoLink();
  NoLink(const NoLink&) = delete;
  NoLink& operator=(const NoLink&) = delete;

  std::string name() const;  // valid while this object lives

 private:
  int file_;
};

}  // namespace tessera
