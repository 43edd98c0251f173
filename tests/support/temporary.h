// SPDX-License-Identifier: Apache-2.0
// A directory that is gone after the test.
#pragma once

#include <filesystem>
#include <string>

#include <stdlib.h>

namespace tessera {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "tessera-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }
  std::string checkpoints() const { return path_ + "/checkpoints"; }

 private:
  std::string path_;
};

}  // namespace tessera
