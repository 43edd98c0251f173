// SPDX-License-Identifier: Apache-2.0
// Makers of rows of the key table (fields.h): one for each kind of value. Each takes the
// key, what names the member of a Recipe that holds it, and the line of documentation.
#pragma once

#include "kernels/base/closed_set.h"
#include "launch/recipe/fields.h"
#include "launch/recipe/scalar.h"

namespace tessera {

template <typename T>
using Pick = std::function<T&(Recipe&)>;

RecipeField integer_row(std::string key, Pick<int64_t> pick, std::string doc);
// A whole number, or a word (auto, null) that means 0.
RecipeField integer_or_row(std::string key, std::string word, Pick<int64_t> pick, std::string doc);
// A length in one of its units: a whole number or `word`, which means 0; rival: the other unit's
// key.
RecipeField length_row(std::string key, std::string rival, std::string word, Pick<int64_t> pick,
                       std::string doc);
RecipeField number_row(std::string key, Pick<double> pick, std::string doc);
RecipeField boolean_row(std::string key, Pick<bool> pick, std::string doc);
// true, false, or null where the architecture decides.
RecipeField boolean_or_null_row(std::string key, Pick<std::optional<bool>> pick, std::string doc);
// Text; null is the empty text. choices: the words that are allowed; empty: any.
RecipeField text_row(std::string key, Pick<std::string> pick, std::string doc,
                     std::vector<std::string> choices = {});
RecipeField numbers_row(std::string key, Pick<std::vector<double>> pick, std::string doc);
RecipeField integers_or_auto_row(std::string key, Pick<std::vector<int64_t>> pick, std::string doc);
RecipeField duration_row(std::string key, Pick<double> pick, std::string doc);

// The text of a value that is one word or one quoted text; `wanted` ends a ScalarError.
const std::string& scalar_of(const RecipeNode& node, const char* wanted);
const std::string& unquoted_scalar_of(const RecipeNode& node, const char* wanted);
// The choices as an error lists them: "none | aux_free".
std::string alternatives(const std::vector<std::string>& choices);
// As YAML: plain words need no quotes; everything else gets double quotes with escapes.
std::string yaml_text(const std::string& text);

// One word of a closed set. The reader complains of a word that is none of the row's choices, so
// the value then stays as it is.
template <typename E>
RecipeField word_row(std::string key, Pick<E> pick, std::string doc) {
  return {std::move(key),
          "string",
          names_of<E>(),
          std::move(doc),
          [pick](Recipe& r, const RecipeNode& n) {
            if (const auto value = value_named<E>(scalar_of(n, "text"))) pick(r) = *value;
          },
          [pick](const Recipe& r) {
            return yaml_text(name_of(pick(const_cast<Recipe&>(r))));  // only names a member
          }};
}

// This one may also be null; its line of documentation says what decides then.
template <typename E>
RecipeField word_or_null_row(std::string key, Pick<std::optional<E>> pick, std::string doc) {
  return {std::move(key),
          "string",
          {},
          std::move(doc),
          [pick](Recipe& r, const RecipeNode& n) {
            const std::string& text = scalar_of(n, "text");
            pick(r) = value_named<E>(text);
            if (!pick(r) && !text.empty() && (n.quoted || text != "null"))
              throw ScalarError("must be " + alternatives(names_of<E>()) + ", got '" + text + "'");
          },
          [pick](const Recipe& r) {
            const std::optional<E>& value = pick(const_cast<Recipe&>(r));  // only names a member
            return value ? yaml_text(name_of(*value)) : std::string("null");
          }};
}

}  // namespace tessera
