// SPDX-License-Identifier: Apache-2.0
#include <nlohmann/json.hpp>

#include "data/token_file.h"
#include "kernels/base/check.h"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;
constexpr int kFormat = 1;

// One object of the file; messages say where it stands.
class Fields {
 public:
  Fields(const std::string& path, std::string where, const Json& object)
      : path_(path), where_(std::move(where)), object_(object) {
    check(object.is_object(), ErrorKind::data, path + ":", where_, "must be an object");
  }
  std::string text(const char* key) const {
    const Json* value = find(key);
    if (value == nullptr) return "";
    check(value->is_string(), ErrorKind::data, path_ + ":", where_ + key, "must be a string");
    return value->get<std::string>();
  }
  int64_t count(const char* key) const {
    const Json* value = find(key);
    if (value == nullptr) return 0;
    const bool valid = value->is_number_integer() && value->get<int64_t>() >= 0;
    check(valid, ErrorKind::data, path_ + ":", where_ + key, "must be a whole number >= 0");
    return value->get<int64_t>();
  }
  const Json* find(const char* key) const {
    const auto found = object_.find(key);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }

 private:
  const std::string& path_;
  std::string where_;
  const Json& object_;
};

}  // namespace

std::string to_json(const TokenFileInfo& info) {
  Json sources = Json::array();
  for (const TokenFileSource& source : info.sources)
    sources.push_back({{"path", source.path},
                       {"sha256", source.sha256},
                       {"bytes", source.bytes},
                       {"documents", source.documents},
                       {"tokens", source.tokens}});
  Json json = {{"token_file", kFormat},
               {"tokenizer", info.tokenizer_hash},
               {"vocab_size", info.vocab_size},
               {"end_of_document", nullptr},
               {"tokens", info.tokens},
               {"documents", info.documents},
               {"bytes", info.bytes},
               {"bin_sha256", info.bin_sha256},
               {"fingerprint", info.fingerprint},
               {"sources", sources}};
  if (info.end_of_document) json["end_of_document"] = *info.end_of_document;
  // A path is any bytes; JSON is UTF-8.
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

TokenFileInfo parse_token_file_info(const std::string& path, std::string_view text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  check(!json.is_discarded(), ErrorKind::data, path + ": not JSON; run data prepare again");
  const Fields fields(path, "", json);
  const int64_t format = fields.count("token_file");
  check(format == kFormat, ErrorKind::data, path + ": token_file (the format) is", format,
        "but this version reads", kFormat);
  TokenFileInfo info;
  info.tokenizer_hash = fields.text("tokenizer");
  info.vocab_size = fields.count("vocab_size");
  if (fields.find("end_of_document") != nullptr)
    info.end_of_document = static_cast<int32_t>(fields.count("end_of_document"));
  info.tokens = fields.count("tokens");
  info.documents = fields.count("documents");
  info.bytes = fields.count("bytes");
  info.bin_sha256 = fields.text("bin_sha256");
  info.fingerprint = fields.text("fingerprint");
  const Json* sources = fields.find("sources");
  if (sources == nullptr) return info;
  check(sources->is_array(), ErrorKind::data, path + ": sources must be a list");
  for (size_t i = 0; i < sources->size(); ++i) {
    const Fields source(path, "sources[" + std::to_string(i) + "].", (*sources)[i]);
    info.sources.push_back({source.text("path"), source.text("sha256"), source.count("bytes"),
                            source.count("documents"), source.count("tokens")});
  }
  return info;
}

}  // namespace tessera
