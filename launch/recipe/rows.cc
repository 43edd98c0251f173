// SPDX-License-Identifier: Apache-2.0
#include "launch/recipe/rows.h"

#include "launch/recipe/scalar.h"

namespace tessera {
namespace {

template <typename T>
const T& of(const Pick<T>& pick, const Recipe& recipe) {
  return pick(const_cast<Recipe&>(recipe));  // the picker only names a member
}

}  // namespace

const std::string& scalar_of(const RecipeNode& node, const char* wanted) {
  if (node.kind != RecipeNode::Kind::scalar)
    throw ScalarError(std::string("wants ") + wanted + ", got a " +
                      (node.kind == RecipeNode::Kind::list ? "list" : "map"));
  return node.text;
}

const std::string& unquoted_scalar_of(const RecipeNode& node, const char* wanted) {
  const std::string& text = scalar_of(node, wanted);
  if (node.quoted)
    throw ScalarError(std::string("wants ") + wanted + ", got the text \"" + text + "\"");
  return text;
}

std::string alternatives(const std::vector<std::string>& choices) {
  std::string list;
  for (const std::string& choice : choices) list += (list.empty() ? "" : " | ") + choice;
  return list;
}

std::string yaml_text(const std::string& text) {
  const bool plain = !text.empty() &&
                     text.find_first_not_of(
                         "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                         "0123456789_./-") == std::string::npos &&
                     text != "true" && text != "false" && text != "null" &&
                     !std::isdigit(text[0]) && text[0] != '-' && text[0] != '.';
  if (plain) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '\n' || c == '\t' || c == '\r')
      quoted += c == '\n' ? "\\n" : (c == '\t' ? "\\t" : "\\r");
    else
      quoted += (c == '"' || c == '\\') ? std::string("\\") + c : std::string(1, c);
  }
  return quoted + "\"";
}

RecipeField integer_row(std::string key, Pick<int64_t> pick, std::string doc) {
  return {std::move(key),
          "integer",
          {},
          std::move(doc),
          [pick](Recipe& r, const RecipeNode& n) {
            pick(r) = parse_integer(unquoted_scalar_of(n, "a whole number"));
          },
          [pick](const Recipe& r) { return std::to_string(of(pick, r)); }};
}

RecipeField integer_or_row(std::string key, std::string word, Pick<int64_t> pick, std::string doc) {
  return {std::move(key),
          "integer",
          {},
          std::move(doc),
          [pick, word](Recipe& r, const RecipeNode& n) {
            const std::string& text = unquoted_scalar_of(n, "a whole number");
            pick(r) = text == word ? 0 : parse_integer(text);
          },
          [pick, word](const Recipe& r) {
            return of(pick, r) == 0 ? word : std::to_string(of(pick, r));
          }};
}

RecipeField length_row(std::string key, std::string rival, std::string word, Pick<int64_t> pick,
                       std::string doc) {
  RecipeField row =
      integer_or_row(std::move(key), std::move(word), std::move(pick), std::move(doc));
  row.rival = std::move(rival);
  return row;
}

RecipeField number_row(std::string key, Pick<double> pick, std::string doc) {
  return {std::move(key),
          "number",
          {},
          std::move(doc),
          [pick](Recipe& r, const RecipeNode& n) {
            pick(r) = parse_number(unquoted_scalar_of(n, "a number"));
          },
          [pick](const Recipe& r) { return format_number(of(pick, r)); }};
}

RecipeField boolean_row(std::string key, Pick<bool> pick, std::string doc) {
  return {std::move(key),
          "boolean",
          {},
          std::move(doc),
          [pick](Recipe& r, const RecipeNode& n) {
            pick(r) = parse_bool(unquoted_scalar_of(n, "true or false"));
          },
          [pick](const Recipe& r) { return std::string(of(pick, r) ? "true" : "false"); }};
}

RecipeField text_row(std::string key, Pick<std::string> pick, std::string doc,
                     std::vector<std::string> choices) {
  return {std::move(key),
          "string",
          std::move(choices),
          std::move(doc),
          [pick](Recipe& r, const RecipeNode& n) {
            const std::string& value = scalar_of(n, "text");
            pick(r) = !n.quoted && value == "null" ? "" : value;
          },
          [pick](const Recipe& r) {
            return of(pick, r).empty() ? std::string("null") : yaml_text(of(pick, r));
          }};
}

RecipeField numbers_row(std::string key, Pick<std::vector<double>> pick, std::string doc) {
  return {std::move(key),
          "array",
          {},
          std::move(doc),
          [pick](Recipe& r, const RecipeNode& n) {
            if (n.kind != RecipeNode::Kind::list) throw ScalarError("wants a list of numbers");
            std::vector<double> values;
            for (const RecipeNode& item : n.items)
              values.push_back(parse_number(unquoted_scalar_of(item, "a number")));
            pick(r) = values;
          },
          [pick](const Recipe& r) {
            std::string list;
            for (const double value : of(pick, r))
              list += (list.empty() ? "" : ", ") + format_number(value);
            return "[" + list + "]";
          }};
}

RecipeField integers_or_auto_row(std::string key, Pick<std::vector<int64_t>> pick,
                                 std::string doc) {
  return {std::move(key),
          "array",
          {},
          std::move(doc),
          [pick](Recipe& r, const RecipeNode& n) {
            std::vector<int64_t> values;
            if (n.kind == RecipeNode::Kind::list) {
              for (const RecipeNode& item : n.items)
                values.push_back(parse_integer(unquoted_scalar_of(item, "a whole number")));
            } else if (unquoted_scalar_of(n, "auto or a list of whole numbers") != "auto") {
              throw ScalarError("wants auto or a list of whole numbers");
            }
            pick(r) = values;
          },
          [pick](const Recipe& r) {
            std::string list;
            for (const int64_t value : of(pick, r))
              list += (list.empty() ? "" : ", ") + std::to_string(value);
            return list.empty() ? std::string("auto") : "[" + list + "]";
          }};
}

RecipeField duration_row(std::string key, Pick<double> pick, std::string doc) {
  return {std::move(key),
          "string",
          {},
          std::move(doc),
          [pick](Recipe& r, const RecipeNode& n) {
            pick(r) = parse_duration(unquoted_scalar_of(n, "a duration like 10min"));
          },
          [pick](const Recipe& r) { return format_number(of(pick, r)) + "s"; }};
}

RecipeField boolean_or_null_row(std::string key, Pick<std::optional<bool>> pick, std::string doc) {
  return {std::move(key),
          "boolean",
          {},
          std::move(doc),
          [pick](Recipe& r, const RecipeNode& n) {
            const std::string& text = unquoted_scalar_of(n, "true, false or null");
            pick(r) = text == "null" ? std::optional<bool>() : parse_bool(text);
          },
          [pick](const Recipe& r) {
            const std::optional<bool>& value = of(pick, r);
            return std::string(!value ? "null" : *value ? "true" : "false");
          }};
}

}  // namespace tessera
