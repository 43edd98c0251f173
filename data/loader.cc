// SPDX-License-Identifier: Apache-2.0
#include "data/loader.h"

#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "data/mixture.h"
#include "data/order.h"
#include "kernels/base/check.h"

namespace tessera {
namespace {

constexpr size_t kBatchesAhead = 2;  // one being consumed by the step, one ready behind it

std::vector<double> weights_of(const std::vector<Source>& sources) {
  check(!sources.empty(), ErrorKind::usage, "data: no training source is named");
  std::vector<double> weights;
  for (const Source& source : sources) weights.push_back(source.weight);
  return weights;
}

void validate(const LoaderOptions& o) {
  check(o.sequence_length >= 1, ErrorKind::usage, "data.sequence_length must be at least 1, got",
        o.sequence_length);
  check(o.vocab_size >= 1, ErrorKind::usage, "vocab_size must be at least 1, got", o.vocab_size);
  check(o.num_shards >= 1 && o.shard_index >= 0 && o.shard_index < o.num_shards,
        "no such shard:", o.shard_index, "of", o.num_shards);
  for (const BatchSchedule::Size& size : o.global_batch.sizes())
    check(o.micro_batch >= 1 && size.samples % (o.micro_batch * o.num_shards) == 0,
          ErrorKind::usage, "batch.global =", size.samples, "must be a multiple of batch.micro x",
          "data-parallel shards =", o.micro_batch, "x", o.num_shards);
}

}  // namespace

class Loader::Impl {
 public:
  explicit Impl(LoaderOptions options)
      : options_(std::move(options)), mixture_(weights_of(options_.sources)) {
    validate(options_);
    for (size_t i = 0; i < options_.sources.size(); ++i) {
      const std::string& prefix = options_.sources[i].prefix;
      files_.push_back(TokenFile::open(prefix));
      require_windows(files_.back(), options_.sequence_length);
      const int64_t windows = whole_windows(files_.back(), options_.sequence_length);
      orders_.emplace_back(windows, options_.seed, i, options_.shuffle);
    }
  }

  ~Impl() { stop(); }

  Batch next() {
    const auto start = std::chrono::steady_clock::now();
    std::unique_lock lock(mutex_);
    if (!thread_.joinable()) thread_ = std::thread([this] { prefetch(); });
    changed_.wait(lock, [this] { return !ready_.empty() || error_; });
    waited_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (ready_.empty()) std::rethrow_exception(error_);
    Batch batch = std::move(ready_.front());
    ready_.pop_front();
    consumed_ += batch.samples;
    changed_.notify_all();
    return batch;
  }

  void seek(Cursor cursor) {
    check(cursor.samples >= 0, ErrorKind::usage, "a cursor is at least 0, got", cursor.samples);
    stop();
    ready_.clear();
    error_ = nullptr;
    consumed_ = produced_ = cursor.samples;
  }

  Place place(int64_t sample) const {
    const Mixture::Draw draw = mixture_.draw(sample);
    const Order& order = orders_[static_cast<size_t>(draw.source)];
    return {draw.source, order.window(draw.index) * options_.sequence_length};
  }

  const TokenFile& file(int source) const { return files_.at(static_cast<size_t>(source)); }
  int64_t consumed() const { return consumed_; }
  double waited() const { return waited_; }
  int64_t samples_per_epoch() const {
    int64_t total = 0;
    for (const Order& order : orders_) total += order.num_windows();
    return total;
  }

 private:
  Batch make(int64_t first_sample) const {
    const int64_t micro = options_.micro_batch;
    const RowOptions row{options_.sequence_length, options_.vocab_size,
                         options_.attend_across_documents};
    Batch batch;
    batch.step = options_.global_batch.steps(0, first_sample);
    batch.samples = options_.global_batch.at(first_sample);
    const int64_t num_micros = batch.samples / (micro * options_.num_shards);
    for (int64_t j = 0; j < num_micros; ++j) {
      MicroBatch& rows = batch.micros.emplace_back();
      const int64_t first = first_sample + (j * options_.num_shards + options_.shard_index) * micro;
      for (int64_t i = 0; i < micro; ++i) {
        const Place from = place(first + i);
        append_row(file(from.source), from.first_token, row, rows);
      }
    }
    return batch;
  }

  void prefetch() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return stopping_ || ready_.size() < kBatchesAhead; });
      if (stopping_) return;
      const int64_t first = produced_;
      lock.unlock();
      Batch batch;
      std::exception_ptr error;
      try {
        batch = make(first);
      } catch (...) {
        error = std::current_exception();
      }
      lock.lock();
      if (error) {
        error_ = error;
        changed_.notify_all();
        return;
      }
      produced_ += batch.samples;
      ready_.push_back(std::move(batch));
      changed_.notify_all();
    }
  }

  void stop() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      changed_.notify_all();
    }
    if (thread_.joinable()) thread_.join();
    thread_ = std::thread();
    stopping_ = false;
  }

  const LoaderOptions options_;
  const Mixture mixture_;
  std::vector<TokenFile> files_;
  std::vector<Order> orders_;
  int64_t consumed_ = 0;  // the caller's thread only
  double waited_ = 0;

  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::deque<Batch> ready_;
  std::exception_ptr error_;
  int64_t produced_ = 0;
  bool stopping_ = false;
  std::thread thread_;
};

Loader::Loader(LoaderOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
Loader::~Loader() = default;
Batch Loader::next() {
  return impl_->next();
}
Cursor Loader::cursor() const {
  return {impl_->consumed()};
}
void Loader::seek(Cursor cursor) {
  impl_->seek(cursor);
}
int64_t Loader::samples_per_epoch() const {
  return impl_->samples_per_epoch();
}
double Loader::seconds_waited() const {
  return impl_->waited();
}
Loader::Place Loader::place(int64_t sample) const {
  return impl_->place(sample);
}
const TokenFile& Loader::file(int source) const {
  return impl_->file(source);
}

}  // namespace tessera
