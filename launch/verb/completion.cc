// SPDX-License-Identifier: Apache-2.0
#include "launch/verb/completion.h"

#include <cstdio>
#include <memory>

#include "launch/verb/verbs.h"

namespace tessera {
namespace {

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

// "--json" of each flag that has a long name, and --help, which every verb has.
std::vector<std::string> long_flags(const Verb& verb) {
  std::vector<std::string> names = {"--help"};
  for (const Flag& flag : verb.flags) {
    const size_t at = flag.names.find("--");
    if (at != std::string::npos) names.push_back(flag.names.substr(at));
  }
  return names;
}

std::string verbs_of(const Verb& node) {
  std::vector<std::string> names;
  for (const Verb& verb : node.verbs) names.push_back(verb.name);
  return joined(names);
}

// "case" arms: path of verbs -> words to offer there.
void bash_arms(const Verb& node, const std::string& path, std::string& out) {
  out += "    '" + path + "') words='" + verbs_of(node) + (node.verbs.empty() ? "" : " ") +
         joined(long_flags(node)) + "' ;;\n";
  for (const Verb& verb : node.verbs)
    bash_arms(verb, path.empty() ? verb.name : path + " " + verb.name, out);
}

std::string bash_script(const Verb& program) {
  std::string arms;
  bash_arms(program, "", arms);
  return "# bash completion of " + program.name + ": source this file\n_" + program.name +
         "() {\n"
         "  local words path='' current=${COMP_WORDS[COMP_CWORD]} i\n"
         "  for ((i = 1; i < COMP_CWORD && i < 3; ++i)); do\n"
         "    [[ ${COMP_WORDS[i]} == -* ]] && break\n"
         "    case \" " +
         [&] {
           std::string all;
           for (const Verb& verb : program.verbs)
             all += verb.name + " " + verbs_of(verb) + (verb.verbs.empty() ? "" : " ");
           return all;
         }() +
         "\" in *\" ${COMP_WORDS[i]} \"*) path=\"${path:+$path }${COMP_WORDS[i]}\" ;; *) break ;; "
         "esac\n"
         "  done\n"
         "  case $path in\n" +
         arms +
         "  esac\n"
         "  COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
         "  [[ ${#COMPREPLY[@]} -eq 0 && $current != -* ]] && "
         "COMPREPLY=($(compgen -f -- \"$current\"))\n"
         "}\n"
         "complete -o filenames -F _" +
         program.name + " " + program.name + "\n";
}

void fish_lines(const Verb& program, std::string& out) {
  for (const Verb& verb : program.verbs) {
    out += "complete -c " + program.name + " -n __fish_use_subcommand -a " + verb.name + " -d '" +
           verb.help + "'\n";
    for (const Verb& sub : verb.verbs)
      out += "complete -c " + program.name + " -n '__fish_seen_subcommand_from " + verb.name +
             "' -a " + sub.name + "\n";
    for (const std::string& flag : long_flags(verb))
      out += "complete -c " + program.name + " -n '__fish_seen_subcommand_from " + verb.name +
             "' -l " + flag.substr(2) + "\n";
  }
}

}  // namespace

std::string completion_script(const Verb& program, const std::string& shell) {
  if (shell == "bash") return bash_script(program);
  if (shell == "zsh")
    return "#compdef " + program.name + "\nautoload -U +X bashcompinit && bashcompinit\n" +
           bash_script(program);
  std::string out = "# fish completion of " + program.name + "\n";
  fish_lines(program, out);
  return out;
}

Verb completion_verb() {
  const auto shell = std::make_shared<std::string>();
  return {.name = "completion",
          .help = "print a completion script for a shell",
          .flags = {{"shell",
                     shell.get(),
                     "bash | zsh | fish",
                     OneOf{{"bash", "zsh", "fish"}},
                     {.required = true}}},
          .run = [shell] {
            std::fputs(completion_script(program(), *shell).c_str(), stdout);
            return 0;
          }};
}

}  // namespace tessera
