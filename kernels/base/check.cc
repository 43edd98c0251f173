// SPDX-License-Identifier: Apache-2.0
#include "kernels/base/check.h"

namespace tessera {

Error::Error(ErrorKind kind, const std::string& message, Where where)
    : std::runtime_error(message), kind_(kind), where_(where) {}

const char* name(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::usage: return "usage";
    case ErrorKind::data: return "data";
    case ErrorKind::checkpoint: return "checkpoint";
    case ErrorKind::capacity: return "capacity";
    case ErrorKind::numeric: return "numeric";
    case ErrorKind::peer: return "peer";
    case ErrorKind::storage: return "storage";
    case ErrorKind::busy: return "busy";
    case ErrorKind::internal: return "internal";
  }
  return "unknown";
}

int exit_code(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::usage: return 2;
    case ErrorKind::data: return 3;
    case ErrorKind::checkpoint: return 4;
    case ErrorKind::capacity: return 5;
    case ErrorKind::numeric: return 6;
    case ErrorKind::peer: return 7;
    case ErrorKind::storage: return 8;
    case ErrorKind::busy: return 9;
    case ErrorKind::internal: return 70;
  }
  return 70;
}

}  // namespace tessera
