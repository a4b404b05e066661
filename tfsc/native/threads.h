// `Parallel`: shares of a loop on the processor's threads.

#ifndef TFSC_NATIVE_THREADS_H_
#define TFSC_NATIVE_THREADS_H_

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <thread>

namespace tfsc {

inline void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Threads beside the ones that call: TensorFlow's own are out of reach of its C interface. Those who
// call at a time share them, so that never more threads compute than there are processors, and one.
class Pool {
 public:
  // A loop from 0 to `total`, of which whoever is free takes `grain` at a time.
  struct Loop {
    void (*body)(const void* function, int64_t begin, int64_t end);
    const void* function;
    int64_t total, grain;
    std::atomic<int64_t> next{0};
    std::atomic<int> helpers{0};

    void Work() {
      for (int64_t begin; (begin = next.fetch_add(grain, std::memory_order_relaxed)) < total;)
        body(function, begin, std::min(total, begin + grain));
    }
  };

  static Pool& Get() {
    static Pool* pool = new Pool;  // never deleted: its threads outlive what runs at exit
    return *pool;
  }

  // How many threads compute, the one that calls included.
  int size() const { return size_.load(std::memory_order_relaxed); }
  void Resize(int size) {
    std::lock_guard<std::mutex> lock(mutex_);
    size_ = std::max(size, 1);
    while (started_ + 1 < size_) std::thread([this, number = ++started_] { Serve(number); }).detach();
  }

  void Run(Loop& loop) {
    if (size() == 1 || loop.total <= loop.grain) {
      loop.Work();
      return;
    }
    {
      std::lock_guard<std::mutex> lock(mutex_);
      loops_.push_back(&loop);
      waiting_.store(true, std::memory_order_release);
    }
    wake_.notify_all();
    loop.Work();
    {
      std::lock_guard<std::mutex> lock(mutex_);
      loops_.erase(std::find(loops_.begin(), loops_.end(), &loop));
      waiting_.store(!loops_.empty(), std::memory_order_release);
    }
    // Shares that others have begun take no longer than one's own.
    for (int turn = 0; loop.helpers.load(std::memory_order_acquire) > 0; ++turn)
      turn < kTurns ? Pause() : std::this_thread::yield();
  }

 private:
  // Turns of looking for work before a thread sleeps: some 20 µs, about what waking one takes.
  static constexpr int kTurns = 500;

  void Serve(int number) {
    for (;;) {
      for (int turn = 0; turn < kTurns && !waiting_.load(std::memory_order_acquire); ++turn)
        Pause();
      Loop* loop = nullptr;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        wake_.wait(lock, [&] { return number < size_ && (loop = Open()) != nullptr; });
        loop->helpers.fetch_add(1, std::memory_order_relaxed);
      }
      loop->Work();
      loop->helpers.fetch_sub(1, std::memory_order_release);
    }
  }
  Loop* Open() {
    for (Loop* loop : loops_)
      if (loop->next.load(std::memory_order_relaxed) < loop->total) return loop;
    waiting_.store(false, std::memory_order_release);
    return nullptr;
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Loop*> loops_;
  std::atomic<bool> waiting_{false};
  std::atomic<int> size_{1};
  int started_ = 0;
};

// Calls function(begin, end) for shares of 0 … total, each of its steps some `cycles` long.
template <typename Function>
void Parallel(int64_t total, int64_t cycles, const Function& function) {
  constexpr int64_t kLeast = 20'000;  // cycles that are worth handing over
  const int64_t shares = 4 * Pool::Get().size();
  const int64_t least = (kLeast + cycles) / (cycles + 1);
  Pool::Loop loop{[](const void* f, int64_t begin, int64_t end) {
                    (*static_cast<const Function*>(f))(begin, end);
                  },
                  &function, total, std::max({(total + shares - 1) / shares, least, int64_t{1}})};
  if (total > 0) Pool::Get().Run(loop);
}

}  // namespace tfsc

#endif  // TFSC_NATIVE_THREADS_H_
