// SPDX-License-Identifier: Apache-2.0
// Names what has not moved for a while and ends the process: MPI itself never reports a rank that
// stopped. Waiting loops hold a Watched; what a device does while nobody here waits is Overseen;
// how long is too long, and what a rank is at when it does not wait, say the sections of
// parallel/section.h. The thread looks once a second.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/base/trace.h"

namespace tessera {

// Who knows which ranks are being waited for.
class Awaited {
 public:
  virtual std::string missing() const = 0;  // "rank 1, rank 3"; called by the watchdog's thread

 protected:
  ~Awaited() = default;
};

class Watched {
 public:
  // The strings, and `awaited` if there is one, must outlive the object.
  Watched(const std::string& group, const char* operation, const char* tag, int64_t bytes,
          const Awaited* awaited = nullptr);
  ~Watched();
  Watched(const Watched&) = delete;
  Watched& operator=(const Watched&) = delete;

 private:
  trace::Range range_;
};

// Work that goes on by itself. Watched from the constructor of the last class to unwatch(), which
// its destructor calls.
class Overseen {
 public:
  // What failed, or has not moved for `seconds`, as a whole clause; empty: nothing. Called by the
  // watchdog's thread.
  virtual std::string trouble(double seconds) = 0;

 protected:
  ~Overseen() = default;
  void watch();
  void unwatch();
};

}  // namespace tessera
