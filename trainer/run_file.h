// SPDX-License-Identifier: Apache-2.0
// A RunFile tells of a run and is not worth the run: when its disk is full or gone, training goes
// on. One warning (W062) says so, another one how much is missing once it can be written again.
#pragma once

#include "kernels/base/record_file.h"

namespace tessera {

class RunFile {
 public:
  // Error{storage} as RecordFile: at its start a run is told at once.
  explicit RunFile(const std::string& path) : file_(path) {}
  // Returns how many records are missing just before this one.
  int64_t append(std::string_view record);
  const std::string& path() const { return file_.path(); }

 private:
  RecordFile file_;
};

}  // namespace tessera
