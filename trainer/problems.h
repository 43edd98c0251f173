// SPDX-License-Identifier: Apache-2.0
// What the rules of validate() (recipe.h) write down: every broken rule, in the order of the
// checks.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "trainer/recipe.h"

namespace tessera {

class Problems {
 public:
  void require(bool good, const std::string& key, const std::string& message,
               ErrorKind kind = ErrorKind::usage) {
    if (!good) found.push_back({kind, key, message});
  }
  void positive(int64_t value, const std::string& key) {
    require(value > 0, key, "must be at least 1, got " + std::to_string(value));
  }
  void one_of(const std::string& value, const std::string& key,
              const std::vector<std::string>& choices) {
    std::string list;
    for (const std::string& choice : choices) list += (list.empty() ? "" : " | ") + choice;
    require(std::find(choices.begin(), choices.end(), value) != choices.end(), key,
            "must be " + list + ", got '" + value + "'");
  }
  // An axis or feature that later versions have: only its neutral value can be honoured today.
  void only(bool neutral, const std::string& key, const std::string& what) {
    require(neutral, key, what + "; see the table in README.md", ErrorKind::capacity);
  }
  std::vector<RecipeProblem> found;
};

}  // namespace tessera
