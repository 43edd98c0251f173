// SPDX-License-Identifier: Apache-2.0
// Models of other people's code (tests/golden/make_deepseek_vectors.py) in and out, to the bit.
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "checkpoint/diff.h"
#include "kernels/base/half.h"
#include "tests/support/errors.h"
#include "tests/support/temporary.h"
#include "trainer/hub/config.h"
#include "trainer/hub/transfer.h"

namespace tessera::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;

std::string golden(const std::string& model) {
  return std::string(TESSERA_SOURCE_DIR) + "/tests/golden/" + model;
}

json read_json(const std::string& path) {
  std::ifstream in(path);
  return json::parse(in);
}

std::string complaint(const std::function<void()>& act) {
  try {
    act();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

class GoldenModel : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Models, GoldenModel,
                         testing::Values("llama_random", "deepseek_v2_tiny", "deepseek_v3_random",
                                         "deepseek_v3_yarn_random"),
                         [](const auto& model) { return std::string(model.param); });

TEST_P(GoldenModel, ComesBackFromADetourBitForBit) {
  PosixStorage storage;
  TemporaryDirectory directory;
  HubModel hub = HubModel::open(storage, golden(GetParam()));
  const SaveReport first = import_from_hub(storage, hub, directory / "first", "recipe: 1\n");
  CheckpointReader reader = CheckpointReader::open(storage, first.directory);
  const HubReport report = export_to_hub(
      reader, hub.model(),
      {.directory = directory / "hub", .dtype = DType::f32, .max_shard = 100'000, .tokenizer = ""});
  EXPECT_GT(report.files, 1);
  HubModel again = HubModel::open(storage, directory / "hub");
  EXPECT_EQ(config_of_model(again.model(), DType::f32), config_of_model(hub.model(), DType::f32));
  EXPECT_EQ(again.parameters(), hub.parameters());
  const SaveReport second = import_from_hub(storage, again, directory / "second", "recipe: 1\n");
  CheckpointReader other = CheckpointReader::open(storage, second.directory);
  ASSERT_EQ(reader.tensors().size(), other.tensors().size());
  for (const GlobalTensor& tensor : reader.tensors()) {
    const Tensor a = reader.read_whole(tensor);
    const Tensor b = other.read_whole(*other.find(tensor.name, tensor.role));
    EXPECT_EQ(std::memcmp(a.data(), b.data(), static_cast<size_t>(a.bytes())), 0) << tensor.name;
  }
}

// A copy of a golden model whose config.json can be changed.
struct Copy {
  explicit Copy(const char* model) : config(read_json(golden(model) + "/config.json")) {
    std::filesystem::copy_file(golden(model) + "/model.safetensors",
                               directory / "model.safetensors");
  }
  std::string path() {
    std::ofstream(directory / "config.json") << config;
    return directory.path();
  }
  TemporaryDirectory directory;
  json config;
};

TEST(HubModel, NamesWhatItCannotHonour) {
  PosixStorage storage;
  const auto open = [&](const char* key, const json& value) {
    Copy copy("llama_random");
    copy.config[key] = value;
    return complaint([&] { HubModel::open(storage, copy.path()).parameters(); });
  };
  EXPECT_THAT(open("attention_bias", true), HasSubstr("attention_bias"));
  EXPECT_THAT(open("hidden_act", "gelu"), HasSubstr("hidden_act"));
  EXPECT_THAT(open("model_type", "mixtral"), HasSubstr("model_type mixtral"));
  EXPECT_THAT(open("rope_scaling", {{"rope_type", "llama3"}}), HasSubstr("llama3"));
  EXPECT_THAT(open("hidden_size", "wide"), HasSubstr("hidden_size wants a whole number"));
  EXPECT_THAT(open("num_hidden_layers", 3), HasSubstr("lacks model.layers.2."));
  EXPECT_THAT(open("num_hidden_layers", 1), HasSubstr("does not account for"));
  EXPECT_THAT(open("intermediate_size", 57), HasSubstr("[56, 40], config.json asks for [57, 40]"));
}

// Weights in FP8 with one scale for 128 x 128, as DeepSeek-V3 is published.
TEST(HubModel, MultipliesBlockScales) {
  constexpr int64_t kRows = 130, kColumns = 140;
  PosixStorage storage;
  Copy copy("llama_random");
  copy.config.update({{"vocab_size", kRows},
                      {"hidden_size", kColumns},
                      {"num_hidden_layers", 1},
                      {"num_attention_heads", 1},
                      {"num_key_value_heads", 1},
                      {"head_dim", 2},
                      {"intermediate_size", 2}});
  const std::string name = "model.embed_tokens.weight";
  const std::vector<SafetensorsShape> shapes = {{name + "_scale_inv", DType::f32, {2, 2}},
                                                {name, DType::f8_e4m3, {kRows, kColumns}}};
  {
    std::ofstream out(copy.directory / "model.safetensors", std::ios::binary);
    out << safetensors_header(shapes);
    const float scales[] = {1, 2, 4, 8};
    out.write(reinterpret_cast<const char*>(scales), sizeof scales);
    const std::string ones(kRows * kColumns, static_cast<char>(to_f8_e4m3(1.5f).bits));
    out << ones;
  }
  HubModel hub = HubModel::open(storage, copy.path());
  const Tensor part(Device{}, DType::f32, {3, 4});
  State state;
  state.entries.push_back({.name = name,
                           .role = "param",
                           .tensor = part,
                           .shard = {{kRows, kColumns}, {.offset = {127, 126}, .extent = {3, 4}}}});
  hub.load(state);
  for (int64_t i = 0; i < 3; ++i)
    for (int64_t j = 0; j < 4; ++j)
      EXPECT_EQ(part.row<float>(i)[j], 1.5f * (i < 1 ? 1 : 4) * (j < 2 ? 1 : 2)) << i << " " << j;
}

}  // namespace
}  // namespace tessera::test
