// SPDX-License-Identifier: Apache-2.0
// What `cmake --install` makes, moved elsewhere afterwards: it must need nothing of the place where
// it was built or installed.
#include <algorithm>
#include <filesystem>

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
