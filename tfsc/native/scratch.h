// `Scratch`: memory for one call, from a pool.

#ifndef TFSC_NATIVE_SCRATCH_H_
#define TFSC_NATIVE_SCRATCH_H_

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

namespace tfsc {

inline int64_t RoundUp(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

// A block that goes back to the pool at the end: to touch fresh pages costs more than the
// arithmetic on them. The pool keeps one block for each call that ran at a time.
class Scratch {
 public:
  explicit Scratch(int64_t bytes) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      // The smallest that is large enough, or else the largest, which then grows.
      auto found = std::lower_bound(free_.begin(), free_.end(), bytes, IsSmaller);
      if (found == free_.end() && !free_.empty()) --found;
      if (found != free_.end()) {
        block_ = *found;
        free_.erase(found);
      }
    }
    if (block_.bytes < bytes) {
      std::free(block_.memory);
      constexpr int64_t kHugePage = 2 << 20;
      block_.bytes = RoundUp(bytes, kHugePage);
      block_.memory = std::aligned_alloc(kHugePage, block_.bytes);
      if (block_.memory == nullptr) throw std::bad_alloc();
      madvise(block_.memory, block_.bytes, MADV_HUGEPAGE);  // a wish: without it the same, slower
    }
    next_ = static_cast<char*>(block_.memory);
  }
  ~Scratch() {
    std::lock_guard<std::mutex> lock(mutex_);
    free_.insert(std::lower_bound(free_.begin(), free_.end(), block_.bytes, IsSmaller), block_);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  // The next `size` values, which begin a cache line.
  template <typename T>
  T* Take(int64_t size) {
    T* values = reinterpret_cast<T*>(next_);
    next_ += Bytes<T>(size);
    return values;
  }

  template <typename T>
  static int64_t Bytes(int64_t size) {
    return RoundUp(size * sizeof(T), 64);
  }

 private:
  struct Block {
    void* memory = nullptr;
    int64_t bytes = 0;
  };
  static bool IsSmaller(const Block& block, int64_t bytes) { return block.bytes < bytes; }

  static inline std::mutex mutex_;
  static inline std::vector<Block> free_;  // by size
  Block block_;
  char* next_;
};

}  // namespace tfsc

#endif  // TFSC_NATIVE_SCRATCH_H_
