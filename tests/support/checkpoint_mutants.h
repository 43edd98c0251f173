// SPDX-License-Identifier: Apache-2.0
// Damaged and hostile copies of a sound checkpoint, drawn at random. A mutant is a function of the
// sound files and the generator's state, so a seed and a number are enough to see it again.
#pragma once

#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace tessera::test {

using Files = std::map<std::string, std::string>;  // content by name, of one step directory

// An Instead says what stands in the place of a file.
enum class Instead {
  bytes,            // a file with Change::bytes
  nothing,          // the file was deleted
  directory,        // an empty one
  fifo,             // nobody ever writes into it
  link_to_copy,     // a symbolic link to a file with the sound bytes
  link_to_nowhere,  // a symbolic link whose target does not exist
  link_to_itself
};

struct Change {
  std::string file;
  Instead instead = Instead::bytes;
  std::string bytes = {};
};

struct Mutant {
  std::string kind;  // for people, and for the counts: "bits flipped", "sealed: number edited" ...
  std::vector<Change> changes;
  // True when every checksum that covers the change was made anew, as a stranger would do it: only
  // the content itself can then tell that something is wrong.
  bool sealed = false;

  // False when a reader finds the sound bytes in every file.
  bool changes_bytes(const Files& sound) const;
};

// `sound`: COMMIT, manifest.json, rank-*.index.json and rank-*.h5 of a step that
// save_checkpoint() wrote; `older`: the files of the same names of another step of that run.
// A mutant of a seal changes one number, name or bracket and never the text of a tensor's name,
// role or type, so a reader that accepts it must find the tensors of `sound`.
Mutant draw_mutant(const Files& sound, const Files& older, std::mt19937_64& random);

// Puts a mutant into `directory`, which holds the files of `sound`, or brings these back.
void put(const Mutant& mutant, const Files& sound, const std::string& directory);
void bring_back(const Mutant& mutant, const Files& sound, const std::string& directory);

Files read_files(const std::string& directory);

}  // namespace tessera::test
