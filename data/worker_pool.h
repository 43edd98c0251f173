// SPDX-License-Identifier: Apache-2.0
// A few threads that run tasks in the order they were given. With no workers a task runs when it is
// submitted, on the caller's thread.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace tessera {

class WorkerPool {
 public:
  explicit WorkerPool(int num_workers) {
    for (int i = 0; i < num_workers; ++i) threads_.emplace_back([this] { work(); });
  }
  // Drops the tasks that have not begun.
  ~WorkerPool() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      tasks_.clear();
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // The future gives the task's result, or throws what it threw.
  template <typename Task>
  std::future<std::invoke_result_t<Task>> submit(Task task) {
    auto packaged =
        std::make_shared<std::packaged_task<std::invoke_result_t<Task>()>>(std::move(task));
    auto result = packaged->get_future();
    if (threads_.empty()) {
      (*packaged)();
      return result;
    }
    {
      const std::lock_guard lock(mutex_);
      tasks_.push_back([packaged] { (*packaged)(); });
    }
    changed_.notify_one();
    return result;
  }

  size_t num_workers() const { return threads_.size(); }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
      if (stopping_) return;
      const std::function<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace tessera
