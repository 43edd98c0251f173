// SPDX-License-Identifier: Apache-2.0
// How Tessera says that a promise was broken: check() and Error. Both are functions; the place in
// the source is taken by a default argument, so there is no macro.
//
//   check(x.rows() == y.rows(), "rms_norm: x and y differ in rows:", x.rows(), y.rows());
//   check(version == 1, ErrorKind::data, "corpus.idx: version is", version, "but must be 1");
//
// Thread-safe. An expected outcome (no checkpoint yet, a non-finite gradient) is a value, never an
// Error.
#pragma once

#include <concepts>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace tessera {

// What went wrong, as scripts see it: each kind has one exit code (docs/exit_codes.md).
enum class ErrorKind { usage, data, checkpoint, capacity, numeric, peer, storage, busy, internal };

const char* name(ErrorKind kind);
int exit_code(ErrorKind kind);

// A constructor's default arguments, not the members': nvcc 13 gives up on those.
struct Where {
  Where(const char* in = __builtin_FILE(), int at = __builtin_LINE()) : file(in), line(at) {}
  const char* file;
  int line;
};

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message, Where where = Where());
  ErrorKind kind() const { return kind_; }
  const Where& where() const { return where_; }

 private:
  ErrorKind kind_;
  Where where_;
};

// A literal sentence that remembers where it was written.
struct Sentence {
  std::string_view text;
  Where where;
  template <typename Text>
  requires std::convertible_to<const Text&, std::string_view> Sentence(
      const Text& literal, Where place = Where())  // NOLINT: implicit on purpose
      : text(literal), where(place) {}
};

namespace detail {
template <typename... Values>
std::string join(std::string_view text, const Values&... values) {
  std::ostringstream out;
  out << text;
  ((out << ' ' << values), ...);
  return out.str();
}
}  // namespace detail

// Throws Error{kind} with the sentence and the values, separated by spaces.
template <typename... Values>
[[noreturn]] void fail(ErrorKind kind, Sentence sentence, const Values&... values) {
  throw Error(kind, detail::join(sentence.text, values...), sentence.where);
}

// REQUIRES a bug of ours when it fails: kind internal.
template <typename... Values>
void check(bool condition, Sentence sentence, const Values&... values) {
  if (!condition) fail(ErrorKind::internal, sentence, values...);
}

// The caller's input, the machine or a peer is to blame: name the kind.
template <typename... Values>
void check(bool condition, ErrorKind kind, Sentence sentence, const Values&... values) {
  if (!condition) fail(kind, sentence, values...);
}

}  // namespace tessera
