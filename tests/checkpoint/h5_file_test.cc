// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/h5_file.h"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <thread>

#include <gtest/gtest.h>

#include "checkpoint/layout.h"
#include "kernels/base/check.h"
#include "tests/support/checkpoint_states.h"
#include "tests/support/thread_communicator.h"

namespace tessera {
namespace {

// What `command` prints, or nothing when it fails.
std::string output_of(const std::string& command) {
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  std::string text;
  std::array<char, 4096> buffer;
  while (const size_t got = std::fread(buffer.data(), 1, buffer.size(), pipe))
    text.append(buffer.data(), got);
  return ::pclose(pipe) == 0 ? text : "";
}

// -2, -1.5, -1 ...: exact in every floating type; whole numbers in the others.
StateEntry ramp(DType dtype) {
  const ShardSpec shard = ShardSpec::whole({4, 3}).split(0, 1, 2);
  StateEntry entry = blank_entry(std::string("of_") + name(dtype), "param", dtype, shard);
  each_element(shard, [&](int64_t position, int64_t index) {
    const auto value = static_cast<float>(index) * 0.5f - 2;
    const Tensor& t = entry.tensor;
    switch (dtype) {
      case DType::f64: t.as<double>()[position] = value; break;
      case DType::f32: t.as<float>()[position] = value; break;
      case DType::bf16: t.as<bf16>()[position] = to_bf16(value); break;
      case DType::f16: t.as<f16>()[position] = to_f16(value); break;
      case DType::f8_e4m3: t.as<f8_e4m3>()[position] = to_f8_e4m3(value); break;
      case DType::i32: t.as<int32_t>()[position] = static_cast<int32_t>(index); break;
      case DType::i64: t.as<int64_t>()[position] = index; break;
    }
  });
  return entry;
}

class H5Tools : public testing::Test {
 protected:
  void SetUp() override {
    run_ranks(2, [&](Communicator& world) {
      State state;
      for (const DType dtype : {DType::f64, DType::f32, DType::bf16, DType::f16, DType::f8_e4m3,
                                DType::i32, DType::i64}) {
        StateEntry entry = ramp(dtype);
        // Rank 1 has the second half with known values, rank 0 the first, whatever is in it.
        if (world.rank() == 0)
          entry = blank_entry(entry.name, "param", dtype, ShardSpec::whole({4, 3}).split(0, 0, 2));
        state.entries.push_back(entry);
      }
      save_checkpoint(storage_, world, directory_.checkpoints(), save_info(5), state);
    });
    shard_ = directory_.checkpoints() + "/" + step_name(5) + "/" + shard_name(1);
  }
  TemporaryDirectory directory_;
  PosixStorage storage_;
  std::string shard_;
};

TEST_F(H5Tools, H5dumpReadsAShard) {
  if (output_of("h5dump --version").empty()) GTEST_SKIP() << "h5dump is not installed";
  const std::string text = output_of("h5dump -d /param/of_bf16 " + shard_);
  EXPECT_NE(text.find("(0,0): 1, 1.5, 2"), std::string::npos) << text;
  EXPECT_NE(text.find("(1,0): 2.5, 3, 3.5"), std::string::npos) << text;
  const std::string integers = output_of("h5dump -d /param/of_i64 " + shard_);
  EXPECT_NE(integers.find("(0,0): 6, 7, 8"), std::string::npos) << integers;
  EXPECT_NE(integers.find("(0): 4, 3"), std::string::npos) << "global_shape; " << integers;
  EXPECT_NE(integers.find("(0): 2, 0"), std::string::npos) << "offset; " << integers;
}

TEST_F(H5Tools, H5pyReadsAShard) {
  const std::string python = "/usr/bin/python3 -c '";
  if (output_of(python + "import h5py; print(1)'").empty())
    GTEST_SKIP() << "python3-h5py is not installed";
  const std::string text = output_of(
      python + "import h5py; f = h5py.File(\"" + shard_ +
      "\", \"r\"); print([(k, v.shape, float(v[()].sum())) for k, v in f[\"param\"].items()])'");
  for (const char* type : {"f64", "f32", "bf16", "f16", "f8_e4m3"})
    EXPECT_NE(text.find(std::string("('of_") + type + "', (2, 3), 13.5)"), std::string::npos)
        << text;
  for (const char* type : {"i32", "i64"})
    EXPECT_NE(text.find(std::string("('of_") + type + "', (2, 3), 51.0)"), std::string::npos)
        << text;
}

TEST(H5Skeleton, CoversEveryByteOfTheFileOnce) {
  std::vector<H5Dataset> datasets;
  for (int64_t i = 1; i <= 300; ++i)
    datasets.push_back(
        {"/param/layers/" + std::to_string(i) + "/w", DType::bf16, {i, 37}, {i, 37}, {0, 0}});
  const H5Skeleton skeleton = h5_skeleton(datasets, {{"run_id", "x"}});
  std::vector<std::pair<int64_t, int64_t>> spans;
  for (const auto& piece : skeleton.pieces)
    spans.push_back({piece.offset, static_cast<int64_t>(piece.bytes.size())});
  for (size_t i = 0; i < datasets.size(); ++i) {
    EXPECT_EQ(skeleton.data_offset[i] % 4096, 0);
    spans.push_back({skeleton.data_offset[i], datasets[i].extent[0] * 37 * 2});
  }
  std::sort(spans.begin(), spans.end());
  int64_t at = 0;
  for (const auto& [offset, bytes] : spans) {
    EXPECT_EQ(offset, at);
    at = offset + bytes;
  }
  EXPECT_EQ(at, skeleton.file_bytes);
}

TEST(H5Skeleton, CostsNoMemoryForData) {
  const H5Skeleton skeleton = h5_skeleton(
      {{"/param/huge", DType::f32, {1 << 20, 1 << 18}, {1 << 20, 1 << 18}, {0, 0}}}, {});
  EXPECT_GT(skeleton.file_bytes, int64_t{1} << 40);
  for (const auto& piece : skeleton.pieces) EXPECT_LT(piece.bytes.size(), size_t{1} << 16);
}

TEST(H5Skeleton, IsTheSameForEqualRequestsAndFromManyThreads) {
  const std::vector<H5Dataset> datasets = {{"/param/a", DType::f32, {3}, {3}, {0}},
                                           {"/exp_avg/a", DType::f64, {3}, {3}, {0}}};
  const H5Skeleton first = h5_skeleton(datasets, {});
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      const H5Skeleton again = h5_skeleton(datasets, {});
      EXPECT_EQ(again.data_offset, first.data_offset);
      for (size_t piece = 0; piece < first.pieces.size(); ++piece)
        EXPECT_EQ(again.pieces[piece].bytes, first.pieces[piece].bytes);
    });
  for (std::thread& thread : threads) thread.join();
}

TEST(H5Skeleton, TwoDatasetsOfOnePathAreAnError) {
  const H5Dataset dataset{"/param/a", DType::f32, {3}, {3}, {0}};
  EXPECT_THROW(h5_skeleton({dataset, dataset}, {}), Error);
  EXPECT_NO_THROW(h5_skeleton({dataset}, {}));
}

// Equal states make equal files, whenever they are saved.
TEST(H5Skeleton, HoldsNoTimeOfDay) {
  const auto before = static_cast<uint32_t>(std::time(nullptr));
  const H5Skeleton skeleton = h5_skeleton({{"/param/a/b", DType::f32, {2, 3}, {4, 3}, {0, 0}},
                                           {"/exp_avg/a/c", DType::f32, {2, 3}, {4, 3}, {2, 0}}},
                                          {{"format", "test"}});
  const auto after = static_cast<uint32_t>(std::time(nullptr));
  for (uint32_t second = before; second <= after; ++second) {
    const std::string bytes(reinterpret_cast<const char*>(&second), sizeof second);
    for (const H5Skeleton::Piece& piece : skeleton.pieces)
      EXPECT_EQ(piece.bytes.find(bytes), std::string::npos) << "at " << piece.offset;
  }
}

}  // namespace
}  // namespace tessera
