// SPDX-License-Identifier: Apache-2.0
#include "launch/failure.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <new>
#include <system_error>

#include "kernels/base/check.h"
#include "kernels/base/log.h"
#include "launch/recipe/reader.h"

namespace tessera {
namespace {

Failure out_of_memory(const std::string& what) {
  return {.words = what +
                   ": choose smaller sizes, more ranks, or a machine (or a limit: ulimit -v, "
                   "a cgroup) with more memory",
          .exit_code = exit_code(ErrorKind::capacity)};
}

Failure translated() {
  try {
    throw;
  } catch (const RecipeFailure& failure) {
    return {.words = failure.what(), .exit_code = failure.exit_code, .is_error = false};
  } catch (const Error& error) {
    return {.words = error.what(), .exit_code = exit_code(error.kind())};
  } catch (const std::bad_alloc&) {
    return out_of_memory("out of memory");
  } catch (const std::system_error& error) {
    if (error.code() == std::errc::resource_unavailable_try_again ||
        error.code() == std::errc::not_enough_memory)
      return out_of_memory(std::string("no room for another thread or process (") + error.what() +
                           ")");
    return {.words = std::string("internal error: ") + error.what(),
            .exit_code = exit_code(ErrorKind::internal)};
  } catch (const std::exception& error) {
    return {.words = std::string("internal error: ") + error.what(),
            .exit_code = exit_code(ErrorKind::internal)};
  } catch (...) {
    return {.words = "internal error: an exception of an unknown type",
            .exit_code = exit_code(ErrorKind::internal)};
  }
}

}  // namespace

Failure failure_in_hand() noexcept {
  try {
    return translated();
  } catch (...) {  // not even its words have room
    return {.words = {}, .exit_code = exit_code(ErrorKind::capacity)};
  }
}

int tell(const Failure& failure) noexcept {
  try {
    if (failure.is_error && !failure.words.empty()) log::error(failure.words);
  } catch (...) {
    std::fputs("error: out of memory\n", stderr);
  }
  if (failure.is_error && failure.words.empty()) std::fputs("error: out of memory\n", stderr);
  if (!failure.is_error && !failure.words.empty())
    std::fprintf(stderr, "%s\n", failure.words.c_str());
  return failure.exit_code;
}

int flush_output(int code) {
  std::cout.flush();
  errno = 0;
  const bool flushed = std::fflush(stdout) == 0;
  if (flushed && std::ferror(stdout) == 0 && std::cout.good()) return code;
  const std::string reason = !flushed && errno != 0 ? std::string(": ") + std::strerror(errno) : "";
  log::error("standard output could not be written" + reason + "; what was told is incomplete");
  return code == 0 ? exit_code(ErrorKind::storage) : code;
}

}  // namespace tessera
