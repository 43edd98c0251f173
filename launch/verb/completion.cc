// SPDX-License-Identifier: Apache-2.0
#include "launch/verb/completion.h"

namespace tessera {
namespace {

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

std::string verbs_of(const VerbNode& node) {
  std::vector<std::string> names;
  for (const VerbNode& verb : node.verbs) names.push_back(verb.name);
  return joined(names);
}

// "case" arms: path of verbs -> words to offer there.
void bash_arms(const VerbNode& node, const std::string& path, std::string& out) {
  out += "    '" + path + "') words='" + verbs_of(node) + (node.verbs.empty() ? "" : " ") +
         joined(node.flags) + "' ;;\n";
  for (const VerbNode& verb : node.verbs)
    bash_arms(verb, path.empty() ? verb.name : path + " " + verb.name, out);
}

std::string bash_script(const VerbNode& program) {
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
           for (const VerbNode& verb : program.verbs)
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

void fish_lines(const VerbNode& program, std::string& out) {
  for (const VerbNode& verb : program.verbs) {
    out += "complete -c " + program.name + " -n __fish_use_subcommand -a " + verb.name + " -d '" +
           verb.help + "'\n";
    for (const VerbNode& sub : verb.verbs)
      out += "complete -c " + program.name + " -n '__fish_seen_subcommand_from " + verb.name +
             "' -a " + sub.name + "\n";
    for (const std::string& flag : verb.flags)
      out += "complete -c " + program.name + " -n '__fish_seen_subcommand_from " + verb.name +
             "' -l " + flag.substr(2) + "\n";
  }
}

}  // namespace

std::string completion_script(const VerbNode& program, const std::string& shell) {
  if (shell == "bash") return bash_script(program);
  if (shell == "zsh")
    return "#compdef " + program.name + "\nautoload -U +X bashcompinit && bashcompinit\n" +
           bash_script(program);
  std::string out = "# fish completion of " + program.name + "\n";
  fish_lines(program, out);
  return out;
}

}  // namespace tessera
