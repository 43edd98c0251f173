// SPDX-License-Identifier: Apache-2.0
// Manifests and indexes that a stranger made: every checksum is right, the content is a trap. Each
// must be refused with an Error{checkpoint}; none may crash, loop or take memory.
#include <gtest/gtest.h>

#include "checkpoint/index.h"
#include "checkpoint/manifest.h"
#include "checkpoint/shard_map.h"
#include "checkpoint/state.h"
#include "kernels/base/check.h"

namespace tessera {
namespace {

std::string index_of(const std::string& tensors, const std::string& file_bytes = "100000") {
  return R"({"format":"tessera-shard-index","version":1,"writer":0,"file_bytes":)" + file_bytes +
         R"(,"skeleton_crc32c":"00000000","tensors":[)" + tensors + "]}";
}

std::string tensor(const std::string& shape, const std::string& offset, const std::string& extent,
                   const std::string& at, const std::string& bytes, const std::string& name = "w") {
  return R"({"name":")" + name + R"(","role":"param","dtype":"f32","shape":)" + shape +
         R"(,"offset":)" + offset + R"(,"extent":)" + extent + R"(,"at":)" + at + R"(,"bytes":)" +
         bytes + R"(,"crc32c":"00000000","blocks":"00000000"})";
}

void expect_refused(const std::string& text) {
  try {
    parse_index(text, "dir/rank-0000.index.json");
    ADD_FAILURE() << "accepted: " << text.substr(0, 300);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::checkpoint) << error.what();
    EXPECT_EQ(std::string(error.what()).rfind("dir/rank-0000.index.json", 0), 0u) << error.what();
  }
}

TEST(Hostile, AGoodIndexIsTaken) {
  EXPECT_EQ(parse_index(index_of(tensor("[4]", "[1]", "[2]", "64", "8")), "x").boxes.size(), 1u);
}

TEST(Hostile, BoxesThatLeaveTheTensorTheFileOrTheIntegers) {
  const std::string huge = "9223372036854775807";
  expect_refused(index_of(tensor("[4]", "[3]", "[2]", "64", "8")));     // beyond the tensor
  expect_refused(index_of(tensor("[4]", "[0]", "[0]", "64", "0")));     // empty
  expect_refused(index_of(tensor("[4]", "[-1]", "[2]", "64", "8")));    // negative
  expect_refused(index_of(tensor("[4]", "[0]", "[2]", "64", "12")));    // bytes do not fit
  expect_refused(index_of(tensor("[4]", "[0]", "[2]", "99996", "8")));  // beyond the file
  expect_refused(index_of(tensor("[4]", "[0]", "[2]", huge, "8")));     // at + bytes overflows
  expect_refused(index_of(tensor("[" + huge + "]", "[" + huge + "]", "[2]", "0", "8")));
  expect_refused(index_of(tensor("[4294967296,4294967296]", "[0,0]", "[4294967296,4294967296]", "0",
                                 "0")));                               // the product wraps to 0
  expect_refused(index_of(tensor("[4,4]", "[0]", "[2]", "64", "8")));  // dims differ
  expect_refused(index_of(tensor("[]", "[]", "[]", "64", "4")));
  expect_refused(index_of(
      tensor("[1,1,1,1,1,1,1,1,1]", "[0,0,0,0,0,0,0,0,0]", "[1,1,1,1,1,1,1,1,1]", "64", "4")));
  expect_refused(index_of(tensor("[4]", "[0]", "[2]", "64", "8") + "," +
                          tensor("[4]", "[2]", "[2]", "68", "8")));  // overlap in the file
  expect_refused(index_of(tensor("[4]", "[0]", "[2.0]", "64", "8")));
  expect_refused(index_of(tensor("[4]", "[0]", "[2]", "64", "8"), "18446744073709551615"));
  expect_refused(index_of(tensor("[4]", "[0]", "[2]", "64", "8"), "1e99"));
}

TEST(Hostile, NamesThatWouldBePaths) {
  for (const char* name : {"", "../x", "/x", "x/", "a//b", "a/./b", "a b", "a\\nb", "caf\xc3\xa9"})
    expect_refused(index_of(tensor("[4]", "[0]", "[2]", "64", "8", name)));
  expect_refused(index_of(tensor("[4]", "[0]", "[2]", "64", "8", std::string(513, 'x'))));
  EXPECT_TRUE(is_valid_tensor_name("model.layers.0/mlp-1/up_proj.weight"));
}

TEST(Hostile, TextThatIsNoIndex) {
  for (const char* text : {"", "{", "null", "[]", "{}", "\"x\"", "nan", "{\"format\":1}",
                           "{\"format\":\"tessera-shard-index\"}"})
    expect_refused(text);
  expect_refused(std::string(1 << 20, '['));
  expect_refused(index_of("1"));
  expect_refused(index_of(std::string(100000, '[') + std::string(100000, ']')));
}

TEST(Hostile, AMessageStaysShortWhateverTheTextHolds) {
  const std::string megabyte(1 << 20, '7');
  for (const std::string& text :
       {megabyte, "{\"a\":\"" + megabyte, "{\"" + megabyte + "\":\x1b}"}) {
    try {
      parse_manifest(text, "m");
      ADD_FAILURE() << "accepted";
    } catch (const Error& error) {
      EXPECT_LT(std::string(error.what()).size(), 1000u);
    }
  }
}

TEST(Hostile, ManifestsThatAreNone) {
  const Manifest good = [] {
    Manifest manifest;
    manifest.run_id = "r";
    manifest.recipe = "a: 1\nb: 2";
    manifest.writers = {{0, 10, 20, 30, 1}, {7, 10, 20, 30, 1}};
    return manifest;
  }();
  const std::string text = to_json(good);
  const Manifest back = parse_manifest(text, "x");
  EXPECT_EQ(back.recipe, good.recipe);
  EXPECT_EQ(back.writers.size(), 2u);
  EXPECT_EQ(to_json(back), text);
  const auto expect_refused_with = [&](const std::string& from, const std::string& to) {
    std::string bad = text;
    ASSERT_NE(bad.find(from), std::string::npos) << from;
    bad.replace(bad.find(from), from.size(), to);
    EXPECT_THROW(parse_manifest(bad, "x"), Error) << bad;
  };
  expect_refused_with("\"rank\":7", "\"rank\":0");  // twice
  expect_refused_with("\"rank\":7", "\"rank\":-1");
  expect_refused_with("\"rank\":7", "\"rank\":4294967296");
  expect_refused_with("\"shard_bytes\":10",
                      "\"shard_bytes\":9223372036854775807");  // sum overflows
  expect_refused_with("\"step\":0", "\"step\":-5");
  expect_refused_with("\"step\":0", "\"step\":\"0\"");
  expect_refused_with("\"scalars\":{", "\"scalars\":{\"x\":{},");
  expect_refused_with("\"recipe\":[", "\"recipe\":[[],");
  expect_refused_with("\"writers\":[", "\"writers\":[[],");
  expect_refused_with("0000001e", "0000001E");
  // Any prefix of a manifest is refused, whatever it is cut in.
  for (size_t length = 0; length + 2 < text.size(); ++length)
    EXPECT_THROW(parse_manifest(text.substr(0, length), "x"), Error);
}

TEST(Hostile, ShardsThatContradictEachOtherAreFaults) {
  const auto one = [](int writer, DType dtype, int64_t rows, int64_t first, int64_t count) {
    ShardIndex index;
    index.writer = writer;
    StoredBox box;
    box.name = "w";
    box.role = "param";
    box.dtype = dtype;
    box.global_shape = {rows, 2};
    box.box = {{first, 0}, {count, 2}};
    index.boxes.push_back(box);
    return index;
  };
  EXPECT_TRUE(
      ShardMap({one(0, DType::f32, 4, 0, 2), one(1, DType::f32, 4, 2, 2)}).faults().empty());
  for (const ShardIndex& other :
       {one(1, DType::bf16, 4, 2, 2), one(1, DType::f32, 5, 2, 3), one(1, DType::f32, 4, 1, 3),
        one(1, DType::f32, 4, 0, 2), one(1, DType::f32, 4, 3, 1)})
    EXPECT_FALSE(ShardMap({one(0, DType::f32, 4, 0, 2), other}).faults().empty());
}

}  // namespace
}  // namespace tessera
