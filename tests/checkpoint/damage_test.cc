// SPDX-License-Identifier: Apache-2.0
// Flips and cuts the bytes of every file of a checkpoint: each is one clear Error that names the
// file (and, in data, the tensor), and resuming goes on from the step before.
#include <filesystem>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

#include "checkpoint/layout.h"
#include "checkpoint/load.h"
#include "checkpoint/manifest.h"
#include "checkpoint/reader.h"
#include "checkpoint/writer.h"
#include "kernels/base/check.h"
#include "tests/support/checkpoint_states.h"
#include "tests/support/thread_communicator.h"

namespace tessera {
namespace {

class Damage : public testing::Test {
 protected:
  void SetUp() override {
    for (const int64_t step : {10, 20})
      run_ranks(2, [&](Communicator& world) {
        State state;
        const auto add = [&](const char* name, DType dtype, std::vector<int64_t> shape) {
          state.entries.push_back(filled_entry(
              name, "param", dtype, ShardSpec::whole(std::move(shape)).split(0, world.rank(), 2)));
        };
        add("embed", DType::bf16, {40, 11});
        add("head", DType::f32, {9, 7});
        state.scalars["step"] = std::to_string(step);
        save_checkpoint(storage_, world, root_, save_info(step), state);
      });
  }
  std::string path(const std::string& file) const { return root_ + "/step-00000020/" + file; }

  static std::string contents(const std::string& file) {
    std::ifstream in(file, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  }
  static void put(const std::string& file, const std::string& bytes) {
    std::ofstream(file, std::ios::binary | std::ios::trunc) << bytes;
  }

  // What opening and verifying step 20 says; empty when it finds nothing wrong.
  std::string complaint() {
    try {
      CheckpointReader::open(storage_, root_ + "/step-00000020").verify_all();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::checkpoint) << error.what();
      return error.what();
    }
    return {};
  }
  static bool mentions(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  }

  TemporaryDirectory directory_;
  std::string root_ = directory_.checkpoints();
  PosixStorage storage_;
};

TEST_F(Damage, EveryFlippedByteOfTheSmallFilesIsFoundAndNamed) {
  for (const std::string file :
       {"COMMIT", "manifest.json", "rank-0000.index.json", "rank-0001.index.json"}) {
    const std::string good = contents(path(file));
    ASSERT_FALSE(good.empty());
    for (size_t at = 0; at < good.size(); ++at) {
      std::string bad = good;
      bad[at] ^= static_cast<char>(1 << at % 8);
      put(path(file), bad);
      const std::string text = complaint();
      ASSERT_TRUE(mentions(text, file)) << file << " byte " << at << ": " << text;
    }
    put(path(file), good);
    EXPECT_EQ(complaint(), "");
  }
}

TEST_F(Damage, EveryFlippedByteOfAShardIsFoundAndItsTensorNamed) {
  const CheckpointReader reader = CheckpointReader::open(storage_, root_ + "/step-00000020");
  const ShardIndex& index = reader.shards()[1];
  const std::string file = "rank-0001.h5";
  const std::string good = contents(path(file));
  size_t tensor_bytes = 0;
  constexpr size_t kElsewhere = 131, kInTensors = 3;  // bytes from one flip to the next
  const StoredBox* hit = nullptr;
  for (size_t at = 0; at < good.size(); at += hit != nullptr ? kInTensors : kElsewhere) {
    std::string bad = good;
    bad[at] ^= 0x10;
    put(path(file), bad);
    const std::string text = complaint();
    ASSERT_TRUE(mentions(text, file)) << "byte " << at << ": " << text;
    hit = nullptr;
    for (const StoredBox& box : index.boxes)
      if (static_cast<int64_t>(at) >= box.at && static_cast<int64_t>(at) < box.at + box.bytes)
        hit = &box;
    tensor_bytes += hit != nullptr;
    ASSERT_TRUE(mentions(text, hit ? "tensor " + hit->name : "HDF5 structure")) << text;
  }
  EXPECT_GT(tensor_bytes, 50u);
}

TEST_F(Damage, HDF5BytesAreNotNeededForLoading) {
  const CheckpointReader reader = CheckpointReader::open(storage_, root_ + "/step-00000020");
  std::string bytes = contents(path("rank-0000.h5"));
  const auto first = static_cast<size_t>(reader.shards()[0].boxes[0].at);
  std::fill(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(first), '\xee');
  put(path("rank-0000.h5"), bytes);
  run_ranks(1, [&](Communicator& world) {
    State state;
    state.entries.push_back(blank_entry("embed", "param", DType::bf16, ShardSpec::whole({40, 11})));
    state.entries.push_back(blank_entry("head", "param", DType::f32, ShardSpec::whole({9, 7})));
    load_checkpoint(storage_, world, root_ + "/step-00000020", state);
    for (const StateEntry& entry : state.entries) EXPECT_EQ(wrong_elements(entry), 0);
  });
  EXPECT_TRUE(mentions(complaint(), "HDF5 structure"));
}

TEST_F(Damage, EveryCutOrMissingFileIsFoundAndNamed) {
  for (const std::string file :
       {"COMMIT", "manifest.json", "rank-0000.index.json", "rank-0000.h5", "rank-0001.h5"}) {
    const std::string good = contents(path(file));
    for (const size_t length :
         {size_t{0}, size_t{1}, good.size() / 2, good.size() - 1, good.size() + 1}) {
      std::string bad = good;
      bad.resize(length, ' ');
      put(path(file), bad);
      ASSERT_TRUE(mentions(complaint(), file)) << file << " cut to " << length;
    }
    std::filesystem::remove(path(file));
    const std::string text = complaint();
    ASSERT_TRUE(mentions(text, file)) << text;
    put(path(file), good);
  }
  EXPECT_EQ(complaint(), "");
}

TEST_F(Damage, AShardOfAnotherStepIsNotTaken) {
  std::filesystem::copy(root_ + "/step-00000010/rank-0001.index.json", path("rank-0001.index.json"),
                        std::filesystem::copy_options::overwrite_existing);
  std::filesystem::copy(root_ + "/step-00000010/COMMIT", path("COMMIT"),
                        std::filesystem::copy_options::overwrite_existing);
  EXPECT_TRUE(mentions(complaint(), "COMMIT"));
}

TEST_F(Damage, ANewerFormatSaysSo) {
  std::string manifest = contents(path("manifest.json"));
  manifest.replace(manifest.find("\"version\":1"), 11, "\"version\":2");
  put(path("manifest.json"), manifest);
  Manifest facts;
  facts.version = 2;
  facts.run_id = "run-0123";
  facts.step = 20;
  put(path("COMMIT"), commit_text(facts, manifest));
  EXPECT_TRUE(mentions(complaint(), "is of format 2 but this Tessera reads formats up to 1"))
      << complaint();
}

TEST_F(Damage, ResumingGoesOnFromTheStepBefore) {
  std::string manifest = contents(path("manifest.json"));
  manifest[manifest.size() / 2] ^= 4;
  put(path("manifest.json"), manifest);
  const NewestCheckpoint newest = newest_valid(storage_, root_);
  EXPECT_EQ(newest.step, 10);
  ASSERT_EQ(newest.passed_over.size(), 1u);
  EXPECT_TRUE(mentions(newest.passed_over[0].reason, "step-00000020/manifest.json: is damaged"));
}

}  // namespace
}  // namespace tessera
