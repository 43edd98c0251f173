// SPDX-License-Identifier: Apache-2.0
#include <sstream>

#include <nlohmann/json.hpp>

#include "launch/recipe/fields.h"
#include "launch/recipe/reader.h"

namespace tessera {

std::string recipe_schema() {
  using Json = nlohmann::ordered_json;
  Json root = {{"$schema", "https://json-schema.org/draft/2020-12/schema"},
               {"title", "Tessera recipe"},
               {"type", "object"},
               {"additionalProperties", false},
               {"properties", Json::object()}};
  const Recipe defaults;
  for (const RecipeField& field : recipe_fields()) {
    Json* node = &root;
    std::istringstream words(field.key);
    std::vector<std::string> parts;
    for (std::string part; std::getline(words, part, '.');) parts.push_back(part);
    for (size_t depth = 0; depth + 1 < parts.size(); ++depth) {
      Json& section = (*node)["properties"][parts[depth]];
      if (section.is_null())
        section = {{"type", {"object", "null"}},
                   {"additionalProperties", false},
                   {"properties", Json::object()}};
      node = &section;
    }
    Json property = {{"description", field.doc + " (default " + field.write(defaults) + ")"}};
    // Integers and numbers may be written 64Ki, 1e3, auto or null: text as far as JSON knows.
    if (field.type == "integer" || field.type == "number")
      property["type"] = {field.type, "number", "string", "null"};
    else if (field.type == "string")
      property["type"] = {"string", "number", "null"};
    else
      property["type"] = field.type;
    if (!field.choices.empty()) {
      property.erase("type");
      property["enum"] = field.choices;
    }
    (*node)["properties"][parts.back()] = property;
  }
  return root.dump(2) + "\n";
}

std::string recipe_keys_markdown() {
  const Recipe defaults;
  std::string out;
  std::string section = "-";
  for (const RecipeField& field : recipe_fields()) {
    const size_t dot = field.key.find('.');
    const std::string here = dot == std::string::npos ? "" : field.key.substr(0, dot);
    if (here != section) {
      out += "\n## " + (here.empty() ? "Top level" : "`" + here + "`") +
             "\n\n| key | default | meaning |\n|---|---|---|\n";
      section = here;
    }
    std::string choices;
    for (const std::string& choice : field.choices)
      choices += (choices.empty() ? "" : ", ") + ("`" + choice + "`");
    out += "| `" + field.key + "` | `" + field.write(defaults) + "` | " + field.doc +
           (choices.empty() ? "" : "; one of " + choices) + " |\n";
  }
  return out;
}

}  // namespace tessera
