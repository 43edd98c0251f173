// SPDX-License-Identifier: Apache-2.0
#include "data/survey.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numeric>
#include <set>

#include "data/hash.h"
#include "data/utf8.h"
#include "kernels/base/check.h"

namespace tessera {
namespace {

constexpr int64_t kFewDocuments = 100;  // with fewer, whole documents cannot make up two per cent

// Half a SHA-256: two different documents of 10^12 collide with a chance of 10^-15.
using Fingerprint = std::array<uint8_t, 16>;

Fingerprint fingerprint(std::string_view text) {
  Sha256 hash;
  hash.update(text);
  const auto digest = hash.digest();
  Fingerprint half;
  std::copy_n(digest.begin(), half.size(), half.begin());
  return half;
}

struct Reading {
  SurveyedInput input;
  std::vector<int64_t> lengths;  // of every document, only for deduplication
  std::vector<Fingerprint> fingerprints;
};

Reading read_once(const std::string& path, const TextFormat& format, bool with_fingerprints) {
  Reading reading;
  reading.input.path = path;
  DocumentReader reader(path, format);
  std::string text;
  while (reader.next(text)) {
    ++reading.input.documents;
    reading.input.text_bytes += static_cast<int64_t>(text.size());
    if (!with_fingerprints) continue;
    reading.lengths.push_back(static_cast<int64_t>(text.size()));
    reading.fingerprints.push_back(fingerprint(text));
  }
  reading.input.file_bytes = reader.file_bytes();
  reading.input.sha256 = reader.file_sha256();
  return reading;
}

std::string unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const char next = text[i] == '\\' && i + 1 < text.size() ? text[i + 1] : '\0';
    if (next == 'n' || next == 't' || next == '\\') {
      out += next == 'n' ? '\n' : next == 't' ? '\t' : '\\';
      ++i;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::vector<double> positive(const std::vector<double>& shares) {
  std::vector<double> used;
  std::copy_if(shares.begin(), shares.end(), std::back_inserter(used),
               [](double share) { return share > 0; });
  return used;
}

std::vector<double> checked(const std::vector<double>& shares) {
  double sum = 0;
  for (const double share : shares) {
    check(std::isfinite(share) && share >= 0, ErrorKind::usage,
          "--split wants shares of at least 0, got", share);
    sum += share;
  }
  check(!shares.empty() && shares.size() <= 3, ErrorKind::usage,
        "--split wants one to three shares (train,validation,test), got", shares.size());
  check(std::abs(sum - 1) < 1e-6, ErrorKind::usage, "the shares of --split must sum to 1, got",
        sum);
  check(shares[0] > 0, ErrorKind::usage, "--split leaves nothing to train on");
  return shares;
}

}  // namespace

Survey survey_inputs(const PrepareOptions& options, WorkerPool& pool) {
  Survey survey;
  survey.format = {.kind = text_kind_named(options.format),
                   .text_key = options.text_key,
                   .document_separator = unescape(options.document_separator)};
  const std::vector<std::string> paths = expand_inputs(options.inputs);
  std::vector<std::future<Reading>> readings;
  for (const std::string& path : paths)
    readings.push_back(pool.submit([path, format = survey.format, dedup = options.dedup_exact] {
      return read_once(path, format, dedup);
    }));
  std::set<Fingerprint> seen;
  for (std::future<Reading>& future : readings) {
    Reading reading = future.get();
    SurveyedInput& input = reading.input;
    for (size_t d = 0; d < reading.fingerprints.size(); ++d) {
      if (seen.insert(reading.fingerprints[d]).second) continue;
      if (input.dropped.empty()) input.dropped.resize(reading.fingerprints.size(), false);
      input.dropped[d] = true;
      --input.documents;
      input.text_bytes -= reading.lengths[d];
      ++survey.duplicates;
    }
    input.first_document = survey.documents;
    survey.documents += input.documents;
    survey.text_bytes += input.text_bytes;
    survey.file_bytes += input.file_bytes;
    survey.inputs.push_back(std::move(input));
    if (options.progress)
      options.progress({"survey", static_cast<int64_t>(survey.inputs.size()),
                        static_cast<int64_t>(paths.size())});
  }
  check(survey.documents > 0, ErrorKind::data, "there is no text in", paths.front(),
        paths.size() > 1 ? "and the other inputs" : "");
  return survey;
}

void Survey::read(const SurveyedInput& input, const Visit& visit) const {
  DocumentReader reader(input.path, format);
  int64_t number = input.first_document;
  std::string text;
  for (size_t position = 0; reader.next(text); ++position) {
    if (position < input.dropped.size() && input.dropped[position]) continue;
    visit(number++, std::move(text), reader.file_bytes());
  }
  check(reader.file_sha256() == input.sha256, ErrorKind::data, input.path,
        "has changed while it was being prepared; run data prepare again");
}

SplitRule::SplitRule(const std::vector<double>& shares, int64_t num_documents)
    : shares_(checked(shares)),
      whole_documents_(num_documents >= kFewDocuments),
      mixture_(positive(shares)) {
  for (size_t split = 0; split < shares.size(); ++split)
    if (shares[split] > 0) split_of_source_.push_back(static_cast<int>(split));
}

std::vector<Slice> SplitRule::slices(int64_t number, std::string_view text) const {
  if (whole_documents_)
    return {{split_of_source_[static_cast<size_t>(mixture_.draw(number).source)], 0, text.size()}};
  std::vector<Slice> slices;
  double share = 0;
  size_t begin = 0;
  for (size_t split = 0; split < shares_.size(); ++split) {
    share += shares_[split];
    const auto wanted = static_cast<size_t>(static_cast<double>(text.size()) * share);
    const bool last = split + 1 == shares_.size();
    const size_t end = last ? text.size() : std::max(begin, character_boundary(text, wanted));
    if (end > begin) slices.push_back({static_cast<int>(split), begin, end});
    begin = end;
  }
  return slices;
}

}  // namespace tessera
