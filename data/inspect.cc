// SPDX-License-Identifier: Apache-2.0
#include "data/inspect.h"

#include <algorithm>
#include <filesystem>

#include "data/files.h"
#include "data/hash.h"
#include "kernels/base/check.h"

namespace tessera {
namespace {

constexpr int64_t kBlock = 1 << 16;   // tokens read at a time
constexpr size_t kMostProblems = 20;  // of one kind, in a file that is wrong throughout

class Verification {
 public:
  Verification(const std::string& prefix, const VerifyOptions& options)
      : file_(TokenFile::open(prefix)), info_(file_.info()), options_(options) {
    report_.documents = file_.num_documents();
    report_.tokens = file_.num_tokens();
  }

  VerifyReport run() {
    check_bin_hash();
    check_tokenizer();
    check_ids();
    check_ends();
    check_accounts();
    if (options_.sources) check_sources();
    return std::move(report_);
  }

 private:
  void problem(const std::string& text) { report_.problems.push_back(text); }
  std::string json() const { return file_.prefix() + ".json"; }

  void check_bin_hash() {
    if (info_.bin_sha256.empty()) return;
    Sha256 hash;
    hash.update(file_.bin_bytes().data(), file_.bin_bytes().size());
    const std::string found = hash.hex();
    if (found != info_.bin_sha256)
      problem(file_.bin_path() + ": SHA-256 is " + found + ", " + json() + " says " +
              info_.bin_sha256 + ": the file was changed or damaged; run data prepare again");
  }

  void check_tokenizer() {
    if (options_.tokenizer == nullptr || info_.tokenizer_hash.empty()) return;
    if (options_.tokenizer->hash() != info_.tokenizer_hash)
      problem(file_.prefix() + " was tokenized with " + info_.tokenizer_hash +
              ", but the tokenizer given is " + options_.tokenizer->hash());
  }

  void check_ids() {
    const int64_t vocab =
        options_.tokenizer != nullptr ? options_.tokenizer->vocab_size() : info_.vocab_size;
    std::vector<int32_t> ids;
    int64_t bytes = 0;
    size_t wrong = 0;
    for (int64_t first = 0; first < file_.num_tokens(); first += kBlock) {
      ids.resize(static_cast<size_t>(std::min(kBlock, file_.num_tokens() - first)));
      file_.read(first, static_cast<int64_t>(ids.size()), ids.data());
      for (size_t i = 0; i < ids.size(); ++i) {
        if (ids[i] >= 0 && (vocab == 0 || ids[i] < vocab)) {
          if (options_.tokenizer != nullptr)
            bytes += static_cast<int64_t>(options_.tokenizer->token_bytes(ids[i]).size());
        } else if (++wrong <= kMostProblems) {
          problem(file_.bin_path() + ": token " + std::to_string(first + static_cast<int64_t>(i)) +
                  " is " + std::to_string(ids[i]) + ", the vocabulary has " +
                  std::to_string(vocab));
        }
      }
    }
    const bool comparable = options_.tokenizer != nullptr && info_.bytes > 0 && wrong == 0 &&
                            options_.tokenizer->hash() == info_.tokenizer_hash;
    if (comparable && bytes != info_.bytes)
      problem(file_.bin_path() + ": decodes to " + std::to_string(bytes) + " bytes of text, " +
              json() + " says " + std::to_string(info_.bytes));
  }

  void check_ends() {
    if (!info_.end_of_document) return;
    size_t wrong = 0;
    for (int64_t d = 0; d < file_.num_documents(); ++d) {
      const int64_t end = file_.document_begin(d + 1);
      const bool ends =
          end > file_.document_begin(d) && file_.token(end - 1) == *info_.end_of_document;
      if (!ends && ++wrong <= kMostProblems)
        problem(file_.bin_path() + ": document " + std::to_string(d) +
                " does not end with the end-of-document token " +
                std::to_string(*info_.end_of_document));
    }
  }

  void check_accounts() {
    if (info_.sources.empty()) return;
    int64_t documents = 0, tokens = 0;
    for (const TokenFileSource& source : info_.sources) {
      documents += source.documents;
      tokens += source.tokens;
    }
    if (documents != file_.num_documents() || tokens != file_.num_tokens())
      problem(json() + ": its sources account for " + std::to_string(tokens) + " tokens in " +
              std::to_string(documents) + " documents, the file has " +
              std::to_string(file_.num_tokens()) + " in " + std::to_string(file_.num_documents()));
  }

  void check_sources() {
    for (const TokenFileSource& source : info_.sources) {
      if (!std::filesystem::exists(source.path)) {
        problem(source.path + ": this source is not there any more");
        continue;
      }
      Sha256 hash;
      const MappedFile input = MappedFile::open(source.path);
      hash.update(input.text());
      ++report_.sources_checked;
      if (hash.hex() != source.sha256)
        problem(source.path + ": this source has changed since " + file_.prefix() + " was made");
    }
  }

  const TokenFile file_;
  const TokenFileInfo& info_;
  const VerifyOptions options_;
  VerifyReport report_;
};

}  // namespace

Origin origin_of(const TokenFile& file, int64_t token_index) {
  check(token_index >= 0 && token_index < file.num_tokens(), ErrorKind::usage,
        file.prefix() + " has", file.num_tokens(), "tokens; there is no token", token_index);
  Origin origin;
  origin.document = file.document_of(token_index);
  origin.token_in_document = token_index - file.document_begin(origin.document);
  int64_t before = 0;  // documents of the sources so far
  for (const TokenFileSource& source : file.info().sources) {
    if (origin.document < before + source.documents) {
      origin.source = source.path;
      origin.document_in_source = origin.document - before;
      break;
    }
    before += source.documents;
  }
  return origin;
}

DocumentView view_document(const TokenFile& file, const Tokenizer& tokenizer, int64_t document,
                           int64_t max_tokens) {
  check(document >= 0 && document < file.num_documents(), ErrorKind::usage, file.prefix() + " has",
        file.num_documents(), "documents, 0 ..; there is no document", document);
  DocumentView view;
  view.first_token = file.document_begin(document);
  view.num_tokens = file.document_begin(document + 1) - view.first_token;
  view.shortened = view.num_tokens > max_tokens;
  if (view.num_tokens > 0)
    view.origin = origin_of(file, view.first_token);
  else
    view.origin.document = document;
  std::vector<int32_t> ids(static_cast<size_t>(std::min(view.num_tokens, max_tokens)));
  file.read(view.first_token, static_cast<int64_t>(ids.size()), ids.data());
  view.text = tokenizer.decode(ids);
  return view;
}

std::vector<int64_t> sample_documents(const TokenFile& file, int64_t count) {
  std::vector<int64_t> documents;
  count = std::min(count, file.num_documents());
  for (int64_t i = 0; i < count; ++i) documents.push_back(i * file.num_documents() / count);
  return documents;
}

VerifyReport verify_token_file(const std::string& prefix, const VerifyOptions& options) {
  return Verification(prefix, options).run();
}

}  // namespace tessera
