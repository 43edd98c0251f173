// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/together.h"

#include <exception>
#include <new>
#include <optional>

#include "kernels/base/check.h"

namespace tessera {
namespace {

std::optional<Error> attempt(const std::function<void()>& work) {
  try {
    work();
    return std::nullopt;
  } catch (const Error& error) {
    return error;
  } catch (const std::bad_alloc&) {
    return Error(ErrorKind::capacity, "out of host memory while saving or loading a checkpoint");
  } catch (const std::exception& error) {
    return Error(ErrorKind::internal, error.what());
  }
}

}  // namespace

void together(Communicator& world, const char* tag, const std::function<void()>& work) {
  const std::optional<Error> mine = attempt(work);
  if (world.agree(!mine.has_value(), tag)) return;
  if (world.size() == 1) throw *mine;
  // The kind travels as the first character.
  const std::string text =
      mine ? static_cast<char>('0' + static_cast<int>(mine->kind())) + std::string(mine->what())
           : std::string();
  const std::vector<std::string> texts = world.all_gather(text, tag);
  int first = -1, failed = 0;
  for (int rank = 0; rank < world.size(); ++rank) {
    if (texts[static_cast<size_t>(rank)].empty()) continue;
    if (first < 0) first = rank;
    ++failed;
  }
  const std::string& chosen = texts[static_cast<size_t>(first)];
  std::string message = chosen.substr(1) + " (rank " + std::to_string(first);
  if (failed > 1) message += " and " + std::to_string(failed - 1) + " more";
  throw Error(static_cast<ErrorKind>(chosen[0] - '0'), message + ")");
}

}  // namespace tessera
