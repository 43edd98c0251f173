// SPDX-License-Identifier: Apache-2.0
#include "launch/verb/unknown_verb.h"

#include "launch/recipe/scalar.h"

namespace tessera {

std::string unknown_verb(const Verb& program, int argc, char** argv) {
  const Verb* at = &program;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if ((!word.empty() && word[0] == '-') || at->verbs.empty()) return "";
    const Verb* next = nullptr;
    std::string nearest;
    int best = 3;
    for (const Verb& verb : at->verbs) {
      if (word == verb.name || (!verb.alias.empty() && word == verb.alias)) next = &verb;
      const int edits = edit_distance(word, verb.name);
      if (edits < best) {
        best = edits;
        nearest = verb.name;
      }
    }
    if (next == nullptr)
      return "unknown command `" + word + "`" +
             (nearest.empty() ? "; see tessera --help" : ", did you mean `" + nearest + "`?");
    at = next;
  }
  return "";
}

}  // namespace tessera
