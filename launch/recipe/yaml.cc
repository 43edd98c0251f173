// SPDX-License-Identifier: Apache-2.0
#include "launch/recipe/yaml.h"

#include <algorithm>
#include <map>
#include <sstream>

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

namespace tessera {
namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

// Depth of nesting a recipe can have; deeper input is refused before it costs stack.
constexpr int kMaxDepth = 16;

class Walker {
 public:
  Walker(const std::string& text, std::string file, std::vector<RecipeError>& errors)
      : lines_(lines_of(text)), file_(std::move(file)), errors_(errors) {}

  RecipeNode walk(const YAML::Node& node, int depth = 0) {
    RecipeNode out;
    out.place = place(node.Mark());
    if (depth > kMaxDepth) {
      error(out.place, "nested too deeply");
      return out;
    }
    const std::string& tag = node.Tag();
    if (!tag.empty() && tag != "?" && tag != "!")
      error(out.place, "tags are not used here: " + tag);
    switch (node.Type()) {
      case YAML::NodeType::Map: walk_map(node, depth, out); break;
      case YAML::NodeType::Sequence:
        out.kind = RecipeNode::Kind::list;
        for (const YAML::Node& item : node) out.items.push_back(walk(item, depth + 1));
        break;
      case YAML::NodeType::Scalar:
        out.text = node.Scalar();
        out.quoted = tag == "!";
        if (out.quoted) check_quote(out.place);
        break;
      default: out.text = "null"; break;
    }
    return out;
  }

 private:
  void walk_map(const YAML::Node& node, int depth, RecipeNode& out) {
    out.kind = RecipeNode::Kind::map;
    std::map<std::string, int> seen;  // key -> line
    for (const auto& pair : node) {
      const TextPlace key_place = place(pair.first.Mark());
      if (!pair.first.IsScalar()) {
        error(key_place, "a key must be a word");
        continue;
      }
      const std::string key = pair.first.Scalar();
      if (key == "<<") error(key_place, "merge keys are not used: recipes are complete");
      const auto [first, fresh] = seen.emplace(key, key_place.line);
      if (!fresh) {
        error(key_place,
              "key `" + key + "` is given twice; first on line " + std::to_string(first->second),
              static_cast<int>(key.size()));
        continue;
      }
      out.entries.push_back({key, key_place, walk(pair.second, depth + 1)});
    }
  }

  // yaml-cpp joins the following lines when a quote is not closed.
  void check_quote(const TextPlace& where) {
    if (where.line < 1 || static_cast<size_t>(where.line) > lines_.size()) return;
    const std::string& line = lines_[static_cast<size_t>(where.line - 1)];
    const size_t open = static_cast<size_t>(where.column - 1);
    if (open >= line.size() || (line[open] != '"' && line[open] != '\'')) return;
    for (size_t i = open + 1; i < line.size(); ++i) {
      if (line[i] == '\\' && line[open] == '"')
        ++i;
      else if (line[i] == line[open])
        return;
    }
    error(where, "this quote is not closed on its line");
  }

  TextPlace place(const YAML::Mark& mark) const {
    return mark.is_null() ? TextPlace{file_, 0, 0}
                          : TextPlace{file_, mark.line + 1, mark.column + 1};
  }
  void error(const TextPlace& where, const std::string& message, int width = 1) {
    errors_.push_back({where, width, message, "", 2});
  }

  std::vector<std::string> lines_;
  std::string file_;
  std::vector<RecipeError>& errors_;
};

// Anchors and aliases would make the tree a graph (or a bomb); yaml-cpp resolves them silently.
void refuse_anchors(const std::string& text, const std::string& file,
                    std::vector<RecipeError>& errors) {
  const std::vector<std::string> lines = lines_of(text);
  for (size_t number = 0; number < lines.size(); ++number) {
    char quote = 0;
    const std::string& line = lines[number];
    for (size_t i = 0; i < line.size(); ++i) {
      const bool at_value = i == 0 || line[i - 1] == ' ' || line[i - 1] == '[' ||
                            line[i - 1] == ',' || line[i - 1] == '{';
      if (quote) {
        if (line[i] == '\\' && quote == '"')
          ++i;
        else if (line[i] == quote)
          quote = 0;
      } else if (line[i] == '#' && at_value) {
        break;
      } else if ((line[i] == '"' || line[i] == '\'') && at_value) {
        quote = line[i];
      } else if ((line[i] == '&' || line[i] == '*') && at_value && i + 1 < line.size() &&
                 line[i + 1] != ' ') {
        errors.push_back({{file, static_cast<int>(number) + 1, static_cast<int>(i) + 1},
                          1,
                          "anchors and aliases are not used: recipes are complete",
                          "",
                          2});
      }
    }
  }
}

// Only counts; what it is told of is thrown away.
class Uninterested : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t,
                const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}
};

// Documents in `text`, at most three: yaml-cpp 0.7 finds documents without end in a stray ','
// (and LoadAll never returns).
int count_documents(const std::string& text) {
  constexpr int kEnough = 3;
  std::istringstream in(text);
  YAML::Parser parser(in);
  Uninterested handler;
  int documents = 0;
  while (documents < kEnough && parser.HandleNextDocument(handler)) ++documents;
  return documents;
}

}  // namespace

RecipeNode parse_yaml(const std::string& text, const std::string& file,
                      std::vector<RecipeError>& errors) {
  refuse_anchors(text, file, errors);
  if (!errors.empty()) return {};
  try {
    const int documents = count_documents(text);
    const YAML::Node root = documents == 1 ? YAML::Load(text) : YAML::Node();
    if (documents != 1 || !root.IsMap()) {
      errors.push_back({{file, 1, 1},
                        1,
                        documents > 1
                            ? "a recipe is one YAML document, found " + std::to_string(documents)
                            : "a recipe is a map of sections",
                        "see tessera recipe show",
                        2});
      return {};
    }
    return Walker(text, file, errors).walk(root);
  } catch (const YAML::Exception& error) {
    errors.push_back({{file, error.mark.line + 1, error.mark.column + 1}, 1, error.msg, "", 2});
    return {};
  }
}

RecipeNode parse_yaml_value(const std::string& text, std::vector<RecipeError>& errors) {
  try {
    RecipeNode node = Walker(text, "command line", errors).walk(YAML::Load(text));
    node.place = {"command line", 0, 0};
    return node;
  } catch (const YAML::Exception& error) {
    errors.push_back({{"command line", 0, 0}, 1, "`" + text + "`: " + error.msg, "", 2});
    return {};
  }
}

std::string render(const RecipeError& error, const std::string& source) {
  if (error.place.line <= 0)
    return error.place.file + ": " + error.message + (error.hint.empty() ? "" : "; " + error.hint);
  std::string text = error.place.file + ":" + std::to_string(error.place.line) + ":" +
                     std::to_string(error.place.column) + ": " + error.message;
  const std::vector<std::string> lines = lines_of(source);
  if (static_cast<size_t>(error.place.line) > lines.size())
    return text + (error.hint.empty() ? "" : "; " + error.hint);
  std::string number = std::to_string(error.place.line);
  number.insert(0, number.size() < 5 ? 5 - number.size() : 0, ' ');
  text += "\n" + number + " | " + lines[static_cast<size_t>(error.place.line - 1)] + "\n" +
          std::string(number.size(), ' ') + " | " +
          std::string(static_cast<size_t>(std::max(0, error.place.column - 1)), ' ') +
          std::string(static_cast<size_t>(std::max(1, error.width)), '^');
  return text + (error.hint.empty() ? "" : " " + error.hint);
}

}  // namespace tessera
