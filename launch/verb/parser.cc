// SPDX-License-Identifier: Apache-2.0
#include "launch/verb/parser.h"

#include <cstdio>

#include <CLI/CLI.hpp>

#include "kernels/base/check.h"
#include "launch/recipe/scalar.h"
#include "launch/verb/unknown_verb.h"

namespace tessera {
namespace {

template <typename... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};

CLI::Validator validator(const Whole& rule) {
  return CLI::Validator(
      [rule](std::string& text) -> std::string {
        try {
          const int64_t value = parse_integer(text);
          if (value < rule.least)
            return "must be at least " + std::to_string(rule.least) + ", got " + text;
          if (value > rule.most)
            return "must be at most " + std::to_string(rule.most) + ", got " + text;
          text = std::to_string(value);
          return "";
        } catch (const ScalarError& error) {
          return error.what();
        }
      },
      "");
}

CLI::Validator validator(const Number& rule) {
  return CLI::Validator(
      [rule](std::string& text) -> std::string {
        try {
          const double value = parse_number(text);
          const bool inside = value >= rule.least && value <= rule.most;  // false for nan
          return inside ? ""
                        : "must be from " + format_number(rule.least) + " to " +
                              format_number(rule.most) + ", got " + text;
        } catch (const ScalarError& error) {
          return error.what();
        }
      },
      "");
}

void add_rule(CLI::Option& option, const FlagRule& rule) {
  std::visit(
      Overloaded{
          [](const std::monostate&) {},
          [&](const Whole& whole) { option.transform(validator(whole)); },
          [&](const Between& between) { option.check(CLI::Range(between.least, between.most)); },
          [&](const Number& number) { option.check(validator(number)); },
          [&](const OneOf& choice) { option.check(CLI::IsMember(choice.words)); },
          [&](const ExistingFile&) { option.check(CLI::ExistingFile); },
          [&](const ExistingDirectory&) { option.check(CLI::ExistingDirectory); },
          [&](const Accepts& custom) {
            option.check(CLI::Validator(
                [custom](const std::string& text) { return custom.complaint(text); }, ""));
          }},
      rule);
}

CLI::Option* add_target(CLI::App& app, const Flag& flag) {
  return std::visit(
      Overloaded{[&](bool* target) { return app.add_flag(flag.names, *target, flag.help); },
                 [&](const Sets& sets) {
                   return app.add_flag_callback(
                       flag.names, [sets] { *sets.where = sets.value; }, flag.help);
                 },
                 [&](auto* target) { return app.add_option(flag.names, *target, flag.help); }},
      flag.target);
}

void add_flag(CLI::App& app, const Flag& flag) {
  CLI::Option* option = add_target(app, flag);
  const FlagTraits& traits = flag.traits;
  if (traits.required) option->required();
  if (traits.separator != '\0') option->delimiter(traits.separator);
  if (*traits.needs != '\0') option->needs(app.get_option(traits.needs));
  add_rule(*option, flag.rule);
  if (traits.shows_default) option->capture_default_str();
}

// Rows of flags become options of `app`, and so on below it; the verb that is found goes to
// `chosen`.
void add_rows(CLI::App& app, const Verb& verb, const Verb*& chosen) {
  for (const Flag& flag : verb.flags) add_flag(app, flag);
  if (!verb.verbs.empty()) app.require_subcommand(1);
  for (const Verb& sub : verb.verbs) {
    CLI::App* below = app.add_subcommand(sub.name, sub.help);
    if (!sub.alias.empty()) below->alias(sub.alias);
    add_rows(*below, sub, chosen);
  }
  if (!verb.run) return;
  app.callback([&app, &verb, &chosen] {
    for (const Flag& flag : verb.flags)
      if (flag.traits.given != nullptr && app.count(flag.names.substr(flag.names.find("--"))) > 0)
        *flag.traits.given = true;
    chosen = &verb;
  });
}

}  // namespace

Parsed parse(const Verb& program, int argc, char** argv) {
  CLI::App app(program.help, program.name);
  Parsed parsed;
  add_rows(app, program, parsed.verb);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    parsed.exit_code = app.exit(help);
  } catch (const CLI::CallForAllHelp& help) {
    parsed.exit_code = app.exit(help);
  } catch (const CLI::ParseError& error) {
    const std::string unknown = unknown_verb(program, argc, argv);
    if (unknown.empty())
      app.exit(error, std::cerr, std::cerr);
    else
      std::fprintf(stderr, "%s\n", unknown.c_str());
    parsed.exit_code = exit_code(ErrorKind::usage);
  }
  return parsed;
}

}  // namespace tessera
