// Augmentation by a matrix on each axis, y = A_y · x · A_xᵀ, as a TensorFlow operation for CPUs.
//
// x [n, h, w, channels] uint8 or float32, A_y [n, h, h] and A_x [n, w, w] float32, y float32. A matrix
// of another shape must be empty and stands for the identity. Rows of matrices have few entries that
// are not 0 (two for a shift): the others are left out. Products are added in the order of their
// columns, each by one rounding, as a product of whole matrices does, for finite x.

#include <algorithm>
#include <cstring>
#include <vector>

#include "lanes.h"
#include "operation.h"
#include "scratch.h"

namespace tfsc {
namespace {

// The entries of a matrix that are not 0, row by row, in the order of their columns.
class Sparse {
 public:
  struct Entry {
    float weight;
    int column;
  };

  Sparse(const float* matrix, int64_t size) : ends_(size + 1) {
    entries_.reserve(2 * size);
    for (int64_t row = 0; row < size; ++row) {
      const float* from = matrix + row * size;
      int64_t first = 0;
      for (; first + 8 <= size; first += 8) {
        if (AreAll0(from + first)) continue;
        for (int64_t column = first; column < first + 8; ++column)
          if (from[column] != 0) Put(from, column);
      }
      for (; first < size; ++first)
        if (from[first] != 0) Put(from, first);
      ends_[row + 1] = entries_.size();
      most_ = std::max(most_, ends_[row + 1] - ends_[row]);
    }
  }
  const Entry* begin(int64_t row) const { return entries_.data() + ends_[row]; }
  const Entry* end(int64_t row) const { return entries_.data() + ends_[row + 1]; }
  bool HasPairs() const { return most_ <= 2; }
  // Two entries of each row, as far as needed with weight 0.
  std::vector<Entry> Pairs() const {
    std::vector<Entry> pairs(2 * (ends_.size() - 1), Entry{0, 0});
    for (size_t row = 0; row + 1 < ends_.size(); ++row)
      std::copy(begin(row), end(row), pairs.data() + 2 * row);
    return pairs;
  }

 private:
  // Whether 8 numbers are ±0.
  static bool AreAll0(const float* from) {
    uint64_t bits[4];
    std::memcpy(bits, from, sizeof(bits));
    return ((bits[0] | bits[1] | bits[2] | bits[3]) & 0x7FFFFFFF7FFFFFFF) == 0;
  }

  void Put(const float* row, int64_t column) {
    entries_.push_back({row[column], static_cast<int>(column)});
  }

  std::vector<Entry> entries_;
  std::vector<int64_t> ends_;
  int64_t most_ = 0;
};

// `size` values as float32.
inline void Copy(const float* from, int64_t size, float* to) { std::copy_n(from, size, to); }
inline void Copy(const uint8_t* from, int64_t size, float* to) {
  for (int64_t i = 0; i < size; ++i) to[i] = from[i];
}

template <typename Value>
class Separable {
 public:
  explicit Separable(Construction&) {}

  void Compute(Call& call) const {
    const Tensor x = call.input(0), a_y = call.input(1), a_x = call.input(2);
    if (!call.Requires(x.rank() == 4 && Fits(a_y, x.dim(0), x.dim(1)) &&
                           Fits(a_x, x.dim(0), x.dim(2)),
                       "must be x [n, h, w, channels], a_y [n, h, h] and a_x [n, w, w] or empty. "
                       "Received: ", x.shape(), ", ", a_y.shape(), " and ", a_x.shape()))
      return;
    float* to = call.output_like<float>(0, x);
    if (to == nullptr) return;
    const int64_t height = x.dim(1), width = x.dim(2), channels = x.dim(3);
    const int64_t size = height * width * channels;
    if (x.size() == 0) return;
    const auto* from = x.data<Value>();
    const auto *down = a_y.data<float>(), *across = a_x.data<float>();
    const bool has_rows = a_y.size() > 0, has_columns = a_x.size() > 0;
    Parallel(x.dim(0), size * 2, [&](int64_t begin, int64_t end) {
      // Some values more: four are read and written where a pixel has three.
      const int64_t room = size + kLanes;
      Scratch scratch(3 * Scratch::Bytes<float>(room));
      float *pixels = scratch.Take<float>(room), *rows = scratch.Take<float>(room),
            *columns = scratch.Take<float>(room);
      for (int64_t n = begin; n < end; ++n) {
        float* result = to + n * size;
        float* image = has_rows || has_columns ? pixels : result;
        Copy(from + n * size, size, image);
        if (has_rows) {
          float* combined = has_columns ? rows : result;
          Rows(image, Sparse(down + n * height * height, height), height, width * channels,
               combined);
          image = combined;
        }
        if (!has_columns) continue;
        const Sparse matrix(across + n * width * width, width);
        if (channels == 3 && matrix.HasPairs()) {
          ColumnPairs(image, matrix.Pairs(), height, width, columns);
          std::copy_n(columns, size, result);
        } else {
          Columns(image, matrix, height, width, channels, result);
        }
      }
    });
  }

 private:
  using Four = Vector<float, 4>;

  static bool Fits(const Tensor& matrices, int64_t images, int64_t size) {
    return matrices.size() == 0 ||
           matrices.Is({images, size, size});
  }

  static void Rows(const float* x, const Sparse& matrix, int64_t height, int64_t length, float* y) {
    for (int64_t row = 0; row < height; ++row) {
      for (int64_t i = 0; i < length; i += kLanes) {
        const int lanes = Left(length - i);
        Lanes sum = Zero();
        for (const auto* entry = matrix.begin(row); entry != matrix.end(row); ++entry)
          sum = Fma(entry->weight, LoadLanes(x + entry->column * length + i, lanes), sum);
        StoreLanes(y + row * length + i, sum, lanes);
      }
    }
  }

  // Three channels, two entries a row.
  static void ColumnPairs(const float* x, const std::vector<Sparse::Entry>& pairs, int64_t height,
                          int64_t width, float* y) {
    for (int64_t row = 0; row < height; ++row) {
      const float* from = x + row * width * 3;
      for (int64_t column = 0; column < width; ++column) {
        const auto &one = pairs[2 * column], &two = pairs[2 * column + 1];
        Four first, second;
        std::memcpy(&first, from + one.column * 3, sizeof(first));
        std::memcpy(&second, from + two.column * 3, sizeof(second));
        const Four sum = FusedMultiplyAdd(Four{} + two.weight, second, one.weight * first);
        std::memcpy(y + (row * width + column) * 3, &sum, sizeof(sum));  // the fourth: written over
      }
    }
  }

  static void Columns(const float* x, const Sparse& matrix, int64_t height, int64_t width,
                      int64_t channels, float* y) {
    for (int64_t row = 0; row < height; ++row) {
      const float* from = x + row * width * channels;
      for (int64_t column = 0; column < width; ++column) {
        for (int64_t c = 0; c < channels; ++c) {
          float sum = 0;
          for (const auto* entry = matrix.begin(column); entry != matrix.end(column); ++entry)
            sum = __builtin_fmaf(entry->weight, from[entry->column * channels + c], sum);
          *y++ = sum;
        }
      }
    }
  }
};

const bool kRegistered =
    RegisterOperation("TfscSeparable", {"x: T", "a_y: float", "a_x: float"}, {"y: float"},
                      {"T: {uint8, float}"}, [](Shapes& shapes) { shapes.Like(0, 0, 4); }) &&
    RegisterKernel<Separable<uint8_t>>("TfscSeparable", TF_UINT8) &&
    RegisterKernel<Separable<float>>("TfscSeparable", TF_FLOAT);

}  // namespace
}  // namespace tfsc
