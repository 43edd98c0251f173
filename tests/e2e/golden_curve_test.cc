// SPDX-License-Identifier: Apache-2.0
// The first eight losses, to the last bit, for each instruction-set path. Whoever changes numbers
// on purpose writes the file anew: TESSERA_UPDATE_GOLDEN=1
// build/release/tests/e2e_golden_curve_test on a machine with all paths, and says why in the
// commit.
#include <cstdio>

#include "tests/support/workshop.h"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;
const std::string kFile = std::string(TESSERA_SOURCE_DIR) + "/tests/golden/loss_curves.json";

const Workshop& workshop() {
  static const Workshop shared;
  return shared;
}

std::string hexadecimal(double value) {
  char text[64];
  std::snprintf(text, sizeof text, "%a", value);
  return text;
}

class GoldenCurve : public testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(GoldenCurve, IsReproducedToTheLastBit) {
  const auto& [path, precision] = GetParam();
  if (const std::string reason = lacks_path(path); !reason.empty()) GTEST_SKIP() << reason;
  const std::string name = std::string(precision) + " " + path;
  const ProgramResult run =
      workshop().train(1, name, {"run.steps=8", std::string("precision.compute=") + precision},
                       {{"TESSERA_CPU_PATH", path}});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  Json curve = Json::array();
  for (const auto& [step, loss] : workshop().losses(name)) curve.push_back(hexadecimal(loss));
  ASSERT_EQ(curve.size(), 8u);

  std::ifstream in(kFile);
  Json golden = in.good() ? Json::parse(in) : Json::object();
  if (std::getenv("TESSERA_UPDATE_GOLDEN")) {
    golden[name] = curve;
    std::ofstream(kFile) << golden.dump(2) << "\n";
    GTEST_SKIP() << "written anew, nothing compared: " << kFile;
  }
  ASSERT_TRUE(golden.contains(name)) << kFile << " has no curve '" << name << "'";
  EXPECT_EQ(curve, golden[name]) << run.err;
}

INSTANTIATE_TEST_SUITE_P(Paths, GoldenCurve,
                         testing::Values(std::pair{"v2", "f32"}, std::pair{"v3", "f32"},
                                         std::pair{"v4", "f32"}, std::pair{"v3", "bf16"},
                                         std::pair{"v4_bf16", "bf16"}, std::pair{"v3", "f16"}),
                         [](const auto& path) {
                           return std::string(path.param.second) + "_on_" + path.param.first;
                         });

}  // namespace
}  // namespace tessera
