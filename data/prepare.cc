// SPDX-License-Identifier: Apache-2.0
#include "data/prepare.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <set>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "data/bpe_trainer.h"
#include "data/files.h"
#include "data/hash.h"
#include "data/survey.h"
#include "data/token_file.h"
#include "data/utf8.h"
#include "kernels/base/check.h"
#include "kernels/base/log.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;
constexpr const char* kSplitNames[] = {"train", "validation", "test"};
constexpr size_t kBatchBytes = size_t{1} << 20;  // of text: what one worker takes at a time
constexpr int64_t kDefaultVocabulary = 8192;

// Two runs into one directory would tear each other's files.
class DirectoryLock {
 public:
  explicit DirectoryLock(const std::string& path)
      : fd_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)) {
    const bool locked = fd_ >= 0 && ::flock(fd_, LOCK_EX | LOCK_NB) == 0;
    if (!locked && fd_ >= 0) ::close(fd_);
    check(locked, ErrorKind::storage, "another data prepare is at work:", path, "is locked");
  }
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;
  ~DirectoryLock() { ::close(fd_); }

 private:
  int fd_;
};

// A stretch of text on its way to a token file.
struct Piece {
  size_t source;  // index in the survey
  int split;
  std::string text;
};

struct EncodedBatch {
  std::vector<int32_t> tokens;
  struct Document {
    size_t source;
    int split;
    size_t tokens, bytes;
  };
  std::vector<Document> documents;
};

class Preparation {
 public:
  explicit Preparation(const PrepareOptions& options)
      : options_(options), pool_(num_threads(options.workers)) {}

  PrepareReport run();

 private:
  static int num_threads(int workers) {
    const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
    const int wanted = workers > 0 ? workers : cores;
    return wanted == 1 ? 0 : wanted;  // one worker is the caller itself
  }
  std::string fingerprint() const;
  bool up_to_date(const std::string& fingerprint);
  void open_work_directory(const std::string& fingerprint);
  Tokenizer make_tokenizer();
  Tokenizer train_tokenizer(int64_t vocab_size);
  Tokenizer collect_characters();
  void encode_parts(const std::string& fingerprint);
  void encode_part(size_t first, size_t last, const std::string& prefix, const std::string& mark);
  bool part_is_done(const std::string& prefix, const std::string& mark) const;
  void assemble(const std::string& fingerprint);
  void report_progress(std::string_view stage, int64_t done, int64_t total) const {
    if (options_.progress) options_.progress({stage, done, total});
  }
  std::string path_of(const std::string& name) const { return options_.output + "/" + name; }
  std::string work(const std::string& name) const { return path_of(".prepare/" + name); }
  size_t num_splits() const { return options_.split.size(); }

  // Hands every piece of text of the inputs [first, last) to `take`, in order.
  void for_each_piece(std::string_view stage, size_t first, size_t last,
                      const std::function<void(int64_t number, Piece&&)>& take) const;

  const PrepareOptions& options_;
  WorkerPool pool_;
  Survey survey_;
  std::optional<SplitRule> rule_;
  std::optional<Tokenizer> given_, tokenizer_;
  std::vector<std::string> parts_;  // prefixes, without the split
  PrepareReport report_;
};

// Everything that the outputs depend on.
std::string Preparation::fingerprint() const {
  std::string text = "tessera data prepare, format 1\n";
  const auto add = [&](const std::string& value) {
    text += std::to_string(value.size()) + ":" + value + "\n";
  };
  add(given_ ? given_->hash() : options_.tokenizer);
  for (const double share : options_.split) add(std::to_string(share));
  add(survey_.format.text_key);
  add(survey_.format.document_separator);
  if (options_.format != "auto") add("format " + options_.format);
  add(options_.dedup_exact ? "dedup exact" : "");
  add(std::to_string(options_.training_bytes));
  for (const SurveyedInput& input : survey_.inputs) {
    add(input.path);
    add(input.sha256);
  }
  return "sha256:" + sha256_hex(text);
}

bool Preparation::up_to_date(const std::string& fingerprint) {
  try {
    const Tokenizer tokenizer = Tokenizer::load(path_of("tokenizer.json"));
    for (size_t split = 0; split < num_splits(); ++split) {
      const TokenFileInfo info = TokenFile::open(path_of(kSplitNames[split])).info();
      if (info.fingerprint != fingerprint || info.tokenizer_hash != tokenizer.hash()) return false;
      report_.splits.push_back(
          {path_of(kSplitNames[split]), info.documents, info.tokens, info.bytes});
    }
    tokenizer_ = tokenizer;
    return true;
  } catch (const Error&) {  // not there yet, or damaged: do it again
    report_.splits.clear();
    return false;
  }
}

// What a killed run left is used if it was about the same work.
void Preparation::open_work_directory(const std::string& fingerprint) {
  const std::string request = work("request");
  const bool same = fs::exists(request) && read_file(request) == fingerprint;
  if (!same)
    for (const auto& entry : fs::directory_iterator(path_of(".prepare")))
      if (entry.path().filename() != "lock") fs::remove_all(entry.path());
  write_file(request, fingerprint);
}

void Preparation::for_each_piece(std::string_view stage, size_t first, size_t last,
                                 const std::function<void(int64_t number, Piece&&)>& take) const {
  int64_t before = 0;
  for (size_t i = 0; i < last; ++i) {
    const SurveyedInput& input = survey_.inputs[i];
    if (i >= first) {
      survey_.read(input, [&](int64_t number, std::string&& text, int64_t read) {
        for (const Slice& slice : rule_->slices(number, text))
          take(number, {i, slice.split, text.substr(slice.begin, slice.end - slice.begin)});
        report_progress(stage, before + read, survey_.file_bytes);
      });
    }
    before += input.file_bytes;
  }
}

Tokenizer Preparation::train_tokenizer(int64_t vocab_size) {
  // Only text that is trained on, so that validation stays unseen; every k-th document if there is
  // more than enough.
  const int64_t stride =
      (survey_.text_bytes + options_.training_bytes - 1) / options_.training_bytes;
  BpeTrainer trainer;
  std::deque<std::future<BpeTrainer>> counting;
  std::vector<Piece> batch;
  size_t batch_bytes = 0;
  const auto take_front = [&] {
    trainer.add(counting.front().get());
    counting.pop_front();
  };
  const auto submit = [&] {
    counting.push_back(pool_.submit([pieces = std::move(batch)] {
      BpeTrainer part;
      for (const Piece& piece : pieces) part.add(piece.text);
      return part;
    }));
    batch.clear();
    batch_bytes = 0;
    if (counting.size() > 2 * pool_.num_workers()) take_front();
  };
  for_each_piece("tokenizer", 0, survey_.inputs.size(), [&](int64_t number, Piece&& piece) {
    if (piece.split != 0 || number % stride != 0) return;
    batch_bytes += piece.text.size();
    batch.push_back(std::move(piece));
    if (batch_bytes >= 8 * kBatchBytes) submit();  // few merges of large counts
  });
  submit();
  while (!counting.empty()) take_front();
  return trainer.train({.vocab_size = vocab_size});
}

Tokenizer Preparation::collect_characters() {
  std::set<uint32_t> distinct;
  for_each_piece("tokenizer", 0, survey_.inputs.size(), [&](int64_t, Piece&& piece) {
    for (size_t at = 0; at < piece.text.size();) {
      const CodePoint character = decode_utf8(std::string_view(piece.text).substr(at));
      check(character.size > 0, ErrorKind::data, survey_.inputs[piece.source].path,
            "is no UTF-8; use --tokenizer bytes or train:8192");
      distinct.insert(character.value);
      at += static_cast<size_t>(character.size);
    }
  });
  std::string text;
  for (const uint32_t character : distinct) append_utf8(character, text);
  return Tokenizer::characters(text);
}

// The vocabulary of "train:8192" or "train"; nullopt if `tokenizer` is something else.
std::optional<int64_t> training_vocabulary(const std::string& tokenizer) {
  if (tokenizer == "train") return kDefaultVocabulary;
  const std::string_view prefix = "train:";
  if (!tokenizer.starts_with(prefix)) return std::nullopt;
  int64_t size = 0;
  const char* end = tokenizer.data() + tokenizer.size();
  const auto result = std::from_chars(tokenizer.data() + prefix.size(), end, size);
  check(result.ec == std::errc() && result.ptr == end && size > 256, ErrorKind::usage,
        "--tokenizer train:N wants a vocabulary of at least 257 tokens, got", tokenizer);
  return size;
}

Tokenizer Preparation::make_tokenizer() {
  if (given_) return *given_;
  if (options_.tokenizer == "bytes") return Tokenizer::bytes();
  const std::string kept = work("tokenizer.json");
  if (fs::exists(kept)) return Tokenizer::load(kept);
  const std::optional<int64_t> vocabulary = training_vocabulary(options_.tokenizer);
  const Tokenizer made = vocabulary ? train_tokenizer(*vocabulary) : collect_characters();
  if (vocabulary && made.vocab_size() < *vocabulary)
    log::warn("the text has no more than", made.vocab_size(), "tokens to learn, not", *vocabulary);
  made.save(kept);
  return made;
}

EncodedBatch encode_batch(const Tokenizer& tokenizer, const std::vector<Piece>& pieces) {
  EncodedBatch batch;
  for (const Piece& piece : pieces) {
    std::vector<int32_t> tokens = tokenizer.encode(piece.text);
    if (tokenizer.end_of_document()) tokens.push_back(*tokenizer.end_of_document());
    batch.tokens.insert(batch.tokens.end(), tokens.begin(), tokens.end());
    batch.documents.push_back({piece.source, piece.split, tokens.size(), piece.text.size()});
  }
  return batch;
}

bool Preparation::part_is_done(const std::string& prefix, const std::string& mark) const {
  for (size_t split = 0; split < num_splits(); ++split) {
    const std::string name = prefix + "." + kSplitNames[split];
    if (!fs::exists(name + ".idx")) return false;
    if (TokenFile::open(name).info().fingerprint != mark) return false;
  }
  return true;
}

void Preparation::encode_part(size_t first, size_t last, const std::string& prefix,
                              const std::string& mark) {
  std::vector<TokenFileInfo> infos(num_splits());
  std::deque<TokenFileWriter> writers;
  for (size_t split = 0; split < num_splits(); ++split) {
    writers.emplace_back(prefix + "." + kSplitNames[split], tokenizer_->vocab_size());
    infos[split].fingerprint = mark;
    infos[split].tokenizer_hash = tokenizer_->hash();
    for (size_t i = first; i < last; ++i) {
      const SurveyedInput& input = survey_.inputs[i];
      infos[split].sources.push_back({input.path, input.sha256, input.file_bytes, 0, 0});
    }
  }
  std::deque<std::future<EncodedBatch>> encoding;  // in order
  const auto write_front = [&] {
    const EncodedBatch batch = encoding.front().get();
    encoding.pop_front();
    std::span<const int32_t> tokens(batch.tokens);
    for (const EncodedBatch::Document& document : batch.documents) {
      const auto split = static_cast<size_t>(document.split);
      writers[split].add(tokens.first(document.tokens));
      writers[split].end_document();
      tokens = tokens.subspan(document.tokens);
      TokenFileSource& source = infos[split].sources[document.source - first];
      ++source.documents;
      source.tokens += static_cast<int64_t>(document.tokens);
      infos[split].bytes += static_cast<int64_t>(document.bytes);
    }
  };
  std::vector<Piece> batch;
  size_t batch_bytes = 0;
  const auto submit = [&] {
    encoding.push_back(pool_.submit([pieces = std::move(batch), tokenizer = *tokenizer_] {
      return encode_batch(tokenizer, pieces);
    }));
    batch.clear();
    batch_bytes = 0;
    if (encoding.size() > 2 * pool_.num_workers()) write_front();
  };
  for_each_piece("encode", first, last, [&](int64_t, Piece&& piece) {
    batch_bytes += piece.text.size();
    batch.push_back(std::move(piece));
    if (batch_bytes >= kBatchBytes) submit();
  });
  submit();
  while (!encoding.empty()) write_front();
  for (size_t split = 0; split < num_splits(); ++split) writers[split].finish(infos[split]);
}

void Preparation::encode_parts(const std::string& fingerprint) {
  const size_t num_inputs = survey_.inputs.size();
  for (size_t first = 0; first < num_inputs;) {
    size_t last = first;
    for (int64_t bytes = 0; last < num_inputs && (last == first || bytes < options_.part_bytes);)
      bytes += survey_.inputs[last++].file_bytes;
    const std::string prefix = work("part-" + std::to_string(first));
    const std::string mark = fingerprint + "/" + std::to_string(first) + "-" + std::to_string(last);
    ++report_.parts;
    if (part_is_done(prefix, mark))
      ++report_.parts_reused;
    else
      encode_part(first, last, prefix, mark);
    parts_.push_back(prefix);
    first = last;
  }
}

void Preparation::assemble(const std::string& fingerprint) {
  for (size_t split = 0; split < num_splits(); ++split) {
    const std::string name = kSplitNames[split];
    TokenFileWriter writer(path_of(name), tokenizer_->vocab_size());
    TokenFileInfo info;
    info.fingerprint = fingerprint;
    info.tokenizer_hash = tokenizer_->hash();
    info.end_of_document = tokenizer_->end_of_document();
    std::vector<int32_t> tokens;
    for (const std::string& prefix : parts_) {
      const TokenFile part = TokenFile::open(prefix + "." + name);
      for (int64_t d = 0; d < part.num_documents(); ++d) {
        const int64_t begin = part.document_begin(d);
        tokens.resize(static_cast<size_t>(part.document_begin(d + 1) - begin));
        part.read(begin, static_cast<int64_t>(tokens.size()), tokens.data());
        writer.add(tokens);
        writer.end_document();
      }
      info.bytes += part.info().bytes;
      const auto& sources = part.info().sources;
      info.sources.insert(info.sources.end(), sources.begin(), sources.end());
      report_progress("assemble", static_cast<int64_t>(&prefix - parts_.data()) + 1,
                      static_cast<int64_t>(parts_.size()));
    }
    if (split == 0) tokenizer_->save(path_of("tokenizer.json"));
    info = writer.finish(std::move(info));
    if (info.tokens == 0)
      log::warn(path_of(name), "is empty: the text is too short for this --split");
    report_.splits.push_back({path_of(name), info.documents, info.tokens, info.bytes});
  }
}

PrepareReport Preparation::run() {
  const auto start = std::chrono::steady_clock::now();
  check(!options_.output.empty(), ErrorKind::usage, "no output directory is named (-o)");
  check(options_.part_bytes > 0 && options_.training_bytes > 0, "sizes must be positive");
  const bool made = training_vocabulary(options_.tokenizer) || options_.tokenizer == "bytes" ||
                    options_.tokenizer == "chars";
  if (!made) given_ = Tokenizer::load(options_.tokenizer);
  // A wrong --split is told before the inputs are read.
  [[maybe_unused]] const SplitRule checked(options_.split, 1);
  make_directories(path_of(".prepare"));
  {
    const DirectoryLock lock(work("lock"));
    survey_ = survey_inputs(options_, pool_);
    rule_.emplace(options_.split, survey_.documents);
    const std::string print = fingerprint();
    report_.up_to_date = up_to_date(print);
    if (!report_.up_to_date) {
      open_work_directory(print);
      tokenizer_ = make_tokenizer();
      encode_parts(print);
      assemble(print);
    }
    std::error_code ignored;
    fs::remove_all(path_of(".prepare"), ignored);
  }
  report_.tokenizer = path_of("tokenizer.json");
  report_.tokenizer_hash = tokenizer_->hash();
  report_.vocab_size = tokenizer_->vocab_size();
  report_.inputs = static_cast<int64_t>(survey_.inputs.size());
  report_.input_bytes = survey_.file_bytes;
  report_.documents = survey_.documents;
  report_.duplicates = survey_.duplicates;
  report_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report_;
}

}  // namespace

PrepareReport prepare(const PrepareOptions& options) {
  return Preparation(options).run();
}

}  // namespace tessera
