// SPDX-License-Identifier: Apache-2.0
// What `cmake --install` makes, moved elsewhere afterwards: it must need nothing of the place where
// it was built or installed.
#include <algorithm>
#include <filesystem>
#include <sstream>

#include "tests/support/workshop.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

class Installed {
 public:
  Installed() {
    const std::string prefix = place_ / "first";
    const ProgramResult made =
        run_program({TESSERA_CMAKE, "--install", TESSERA_BUILD_DIR, "--prefix", prefix});
    if (made.exit_code != 0) ADD_FAILURE() << "cmake --install: " << made.out << made.err;
    fs::rename(prefix, tree());
  }
  std::string tree() const { return place_ / "moved"; }
  std::string program() const { return tree() + "/bin/tessera"; }
  ProgramResult run(Words words) const {
    words.insert(words.begin(), program());
    return run_program(words, workshop_.options());
  }
  const Workshop& workshop() const { return workshop_; }

 private:
  TemporaryDirectory place_;
  Workshop workshop_;
};

const Installed& installed() {
  static const Installed shared;
  return shared;
}

TEST(Install, TheProgramFindsItsLibraryWhereverTheTreeStands) {
  const ProgramResult version = installed().run({"version"});
  EXPECT_EQ(version.exit_code, 0) << version.err;
  EXPECT_EQ(version.out, installed().workshop().tessera({"version"}).out);
  // Not the library of the build tree, which a stale run path would still find.
  const ProgramResult libraries = run_program({"ldd", installed().program()});
  EXPECT_NE(libraries.out.find(fs::canonical(installed().tree()).string() + "/"), std::string::npos)
      << libraries.out;
  EXPECT_EQ(libraries.out.find(TESSERA_BUILD_DIR), std::string::npos) << libraries.out;
}

// The loader takes an empty entry of a run path, and a relative one, for the working directory, in
// which anybody may have put a library. `$ORIGIN` is where the file itself lies.
TEST(Install, NoRunPathLeadsToTheWorkingDirectory) {
  std::vector<std::string> files;
  for (const std::string& place :
       {std::string(TESSERA_BUILD_DIR), installed().tree() + "/bin", installed().tree() + "/lib"})
    for (const auto& entry : fs::directory_iterator(place)) {
      const std::string name = entry.path().filename().string();
      const bool ours = name == "tessera" || name.starts_with("libtessera");
      if (ours && entry.is_regular_file() && !entry.is_symlink())
        files.push_back(entry.path().string());
    }
  ASSERT_GE(files.size(), 4u);
  for (const std::string& file : files) {
    const ProgramResult told = run_program({"readelf", "--dynamic", "--wide", file});
    ASSERT_EQ(told.exit_code, 0) << told.err;
    const std::string words = "path: [";
    const size_t found = told.out.find(words);
    ASSERT_NE(found, std::string::npos) << file << " has no run path\n" << told.out;
    const size_t begin = found + words.size();
    // getline() would not see an empty entry at the end.
    std::istringstream entries(told.out.substr(begin, told.out.find(']', begin) - begin) + ":/");
    for (std::string entry; std::getline(entries, entry, ':');)
      EXPECT_TRUE(entry.starts_with("/") || entry.starts_with("$ORIGIN"))
          << file << " has the entry '" << entry << "'\n"
          << told.out;
  }
}

TEST(Install, DoctorFindsNothingThatFails) {
  const ProgramResult doctor = installed().run({"doctor"});
  EXPECT_EQ(doctor.exit_code, 0) << doctor.out;
}

TEST(Install, TwoRanksTrainTwoSteps) {
  Words words = Workshop::train_words(2, "installed", {"run.steps=2"});
  *std::find(words.begin(), words.end(), TESSERA_BINARY) = installed().program();
  const ProgramResult run = run_program(words, installed().workshop().options(), 600);
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_NE(run.err.find("done  2/2"), std::string::npos) << run.err;
  EXPECT_EQ(installed().run({"checkpoint", "verify", "installed"}).exit_code, 0);
}

TEST(Install, RecipesDocumentsAndTheBatchScriptComeAlong) {
  for (const char* file : {"share/tessera/recipes/quickstart.yaml",
                           "share/tessera/slurm/train.sbatch", "share/doc/tessera/README.md",
                           "share/doc/tessera/LICENSE", "share/doc/tessera/docs/architecture.md"})
    EXPECT_TRUE(fs::is_regular_file(installed().tree() + "/" + file)) << file;
  const ProgramResult check =
      installed().run({"recipe", "check",
                       installed().tree() + "/share/tessera/recipes/quickstart.yaml", "-n", "2"});
  EXPECT_EQ(check.exit_code, 0) << check.out << check.err;
}

}  // namespace
}  // namespace tessera
