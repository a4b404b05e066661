// 3×3 convolutions of stride 1, padding SAME, in bfloat16 by Winograd's F(4×4, 3×3).
//
// A tile of 4×4 outputs is Aᵀ((G·g·Gᵀ) ⊙ (Bᵀ·d·B))A of a 6×6 tile d of inputs and the filter g: 36
// multiplications a pair of channels in place of 144 (Lavin & Gray 2015, arXiv:1509.09308). The
// sums over channels are 36 matrix products in bfloat16 with float32 sums (VDPBF16PS). Transforms
// are computed in float32 and rounded to bfloat16 once.
//
// The points are 0, ±5/8, ±3/2, ∞: they round half as coarsely as the usual 0, ±1, ±2, ∞.
//
// Layouts: x [n, h, w, c] and y in bfloat16, filters [3, 3, in, out] in float32. Every output is
// summed in an order that depends on neither the number of threads nor the blocks of tiles.

#include <immintrin.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/util/work_sharder.h"

namespace tfsc {
namespace {

using tensorflow::DT_BFLOAT16;
using tensorflow::DT_FLOAT;
using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;
using tensorflow::bfloat16;
using tensorflow::int64;

constexpr int kOut = 4;             // outputs of a tile along one axis
constexpr int kTile = 6;            // inputs of it
constexpr int kPoints = kTile * kTile;
constexpr int kLanes = 16;          // float32 of a register
constexpr int kPanel = 64;          // columns of a matrix product's inner block: 4 registers
constexpr int kRows = 6;            // its rows: 6·4 sums, 4 columns and a broadcast fill 32 registers
constexpr int64 kPad = 32;          // bfloat16 of a cache line: points a power of two apart would
                                    // compete for the same few lines
constexpr float kA = 0.625f, kB = 1.5f;
constexpr float kA2 = kA * kA, kB2 = kB * kB;

using Lanes = __m512;

inline Lanes Set(float value) { return _mm512_set1_ps(value); }
inline Lanes Add(Lanes a, Lanes b) { return _mm512_add_ps(a, b); }
inline Lanes Sub(Lanes a, Lanes b) { return _mm512_sub_ps(a, b); }
inline Lanes Mul(float a, Lanes b) { return _mm512_mul_ps(Set(a), b); }
// b + a·x
inline Lanes Fma(float a, Lanes x, Lanes b) { return _mm512_fmadd_ps(Set(a), x, b); }

// Bᵀ·d along one axis, elements `stride` apart.
template <int stride>
inline void InputTransform(const Lanes* d, Lanes* v) {
  const Lanes d0 = d[0], d1 = d[stride], d2 = d[2 * stride], d3 = d[3 * stride],
              d4 = d[4 * stride], d5 = d[5 * stride];
  v[0] = Fma(kA2 * kB2, d0, Fma(-(kA2 + kB2), d2, d4));
  const Lanes even_a = Fma(-kB2, d2, d4), odd_a = Mul(kA, Fma(-kB2, d1, d3));
  v[stride] = Add(even_a, odd_a);
  v[2 * stride] = Sub(even_a, odd_a);
  const Lanes even_b = Fma(-kA2, d2, d4), odd_b = Mul(kB, Fma(-kA2, d1, d3));
  v[3 * stride] = Add(even_b, odd_b);
  v[4 * stride] = Sub(even_b, odd_b);
  v[5 * stride] = Fma(kA2 * kB2, d1, Fma(-(kA2 + kB2), d3, d5));
}

// Aᵀ·m: 6 points to 4 outputs.
template <int stride>
inline void OutputTransform(const Lanes* m, Lanes* y) {
  const Lanes sum_a = Add(m[stride], m[2 * stride]), diff_a = Sub(m[stride], m[2 * stride]);
  const Lanes sum_b = Add(m[3 * stride], m[4 * stride]),
              diff_b = Sub(m[3 * stride], m[4 * stride]);
  y[0] = Add(m[0], Add(sum_a, sum_b));
  y[stride] = Fma(kA, diff_a, Mul(kB, diff_b));
  y[2 * stride] = Fma(kA2, sum_a, Mul(kB2, sum_b));
  y[3 * stride] = Fma(kA * kA2, diff_a, Fma(kB * kB2, diff_b, m[5 * stride]));
}

// A·y, the transpose of the above: 4 outputs to 6 points.
template <int stride>
inline void OutputGradient(const Lanes* y, Lanes* m) {
  const Lanes y0 = y[0], y1 = y[stride], y2 = y[2 * stride], y3 = y[3 * stride];
  const Lanes even_a = Fma(kA2, y2, y0), odd_a = Mul(kA, Fma(kA2, y3, y1));
  const Lanes even_b = Fma(kB2, y2, y0), odd_b = Mul(kB, Fma(kB2, y3, y1));
  m[0] = y0;
  m[stride] = Add(even_a, odd_a);
  m[2 * stride] = Sub(even_a, odd_a);
  m[3 * stride] = Add(even_b, odd_b);
  m[4 * stride] = Sub(even_b, odd_b);
  m[5 * stride] = y3;
}

// G's rows: 1/f(p)·(1, p, p²), f(p) = ∏(p − q) over the other finite points q; (0, 0, 1) for ∞.
constexpr float kG0 = 1.f / (kA2 * kB2);
constexpr float kGa = 1.f / (2 * kA2 * (kA2 - kB2));
constexpr float kGb = 1.f / (2 * kB2 * (kB2 - kA2));

// G·g: 3 filter taps to 6 points.
template <int from, int to>
inline void FilterTransform(const Lanes* g, Lanes* u) {
  const Lanes g0 = g[0], g1 = g[from], g2 = g[2 * from];
  u[0] = Mul(kG0, g0);
  const Lanes even_a = Mul(kGa, Fma(kA2, g2, g0)), odd_a = Mul(kGa * kA, g1);
  u[to] = Add(even_a, odd_a);
  u[2 * to] = Sub(even_a, odd_a);
  const Lanes even_b = Mul(kGb, Fma(kB2, g2, g0)), odd_b = Mul(kGb * kB, g1);
  u[3 * to] = Add(even_b, odd_b);
  u[4 * to] = Sub(even_b, odd_b);
  u[5 * to] = g2;
}

// Gᵀ·u: 6 points to 3 taps.
template <int from, int to>
inline void FilterGradient(const Lanes* u, Lanes* g) {
  const Lanes sum_a = Add(u[from], u[2 * from]), diff_a = Sub(u[from], u[2 * from]);
  const Lanes sum_b = Add(u[3 * from], u[4 * from]), diff_b = Sub(u[3 * from], u[4 * from]);
  g[0] = Fma(kG0, u[0], Fma(kGa, sum_a, Mul(kGb, sum_b)));
  g[to] = Fma(kGa * kA, diff_a, Mul(kGb * kB, diff_b));
  g[2 * to] = Fma(kGa * kA2, sum_a, Fma(kGb * kB2, sum_b, u[5 * from]));
}

inline __mmask16 Mask(int64 lanes) {
  return lanes >= kLanes ? 0xFFFF : static_cast<__mmask16>((1u << std::max<int64>(lanes, 0)) - 1);
}

inline Lanes LoadBf16(const uint16_t* from, __mmask16 mask) {
  return _mm512_castsi512_ps(
      _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, from)), 16));
}

// A masked store costs some twenty cycles more on Zen 4, so only where lanes are missing.
inline void StoreBf16(uint16_t* to, __mmask16 mask, Lanes value) {
  const __m256i bits = (__m256i)_mm512_cvtneps_pbh(value);
  if (mask == 0xFFFF) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), bits);
  } else {
    _mm256_mask_storeu_epi16(to, mask, bits);
  }
}

// first[0], second[0], first[1], second[1], …: the pairs that VDPBF16PS multiplies and adds.
inline void StorePairs(uint16_t* to, Lanes first, Lanes second) {
  alignas(64) static const uint16_t kOrder[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,
                                                  21, 6, 22, 7, 23, 8,  24, 9,  25, 10, 26,
                                                  11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  const __m512i both = (__m512i)_mm512_cvtne2ps_pbh(second, first);
  _mm512_store_si512(to, _mm512_permutexvar_epi16(_mm512_load_si512(kOrder), both));
}

// Which tile of a batch of images, and where it begins.
struct Grid {
  int64 images, height, width, rows, columns;

  Grid(int64 images, int64 height, int64 width)
      : images(images), height(height), width(width),
        rows((height + kOut - 1) / kOut), columns((width + kOut - 1) / kOut) {}
  int64 tiles() const { return images * rows * columns; }
  void Place(int64 tile, int64* image, int64* top, int64* left) const {
    *image = tile / (rows * columns);
    *top = tile / columns % rows * kOut;
    *left = tile % columns * kOut;
  }
};

// `size`² values of 16 channels from (top, left) on; 0 outside the image, which is not read.
template <int size>
inline void LoadTile(const uint16_t* image, const Grid& grid, int64 top, int64 left,
                     int64 channels, int64 channel, Lanes* tile) {
  const __mmask16 lanes = Mask(channels - channel);
  __mmask16 columns[size];
  for (int j = 0; j < size; ++j) columns[j] = left + j >= 0 && left + j < grid.width ? lanes : 0;
  for (int i = 0; i < size; ++i) {
    const __mmask16 row = top + i >= 0 && top + i < grid.height ? 0xFFFF : 0;
    const uint16_t* from = image + ((top + i) * grid.width + left) * channels + channel;
    for (int j = 0; j < size; ++j)
      tile[i * size + j] = LoadBf16(from + j * channels, row & columns[j]);
  }
}

// Calls store(p, value) for the 36 points of one tile's inputs, 16 channels of them; of a tile
// beyond the last, which does not exist, for 0.
template <typename Store>
inline void InputPoints(const uint16_t* x, const Grid& grid, int64 tile, int64 channels,
                        int64 channel, const Store& store) {
  if (tile >= grid.tiles()) {
    for (int p = 0; p < kPoints; ++p) store(p, _mm512_setzero_ps());
    return;
  }
  int64 image, top, left;
  grid.Place(tile, &image, &top, &left);
  Lanes d[kPoints];
  LoadTile<kTile>(x + image * grid.height * grid.width * channels, grid, top - 1, left - 1,
                  channels, channel, d);
  for (int j = 0; j < kTile; ++j) InputTransform<kTile>(d + j, d + j);
  for (int i = 0; i < kTile; ++i) {
    Lanes row[kTile];
    InputTransform<1>(d + i * kTile, row);
    for (int j = 0; j < kTile; ++j) store(i * kTile + j, row[j]);
  }
}

// The same for one tile's output gradients.
template <typename Store>
inline void OutputGradientPoints(const uint16_t* dy, const Grid& grid, int64 tile, int64 channels,
                                 int64 channel, const Store& store) {
  if (tile >= grid.tiles()) {
    for (int p = 0; p < kPoints; ++p) store(p, _mm512_setzero_ps());
    return;
  }
  int64 image, top, left;
  grid.Place(tile, &image, &top, &left);
  Lanes d[kOut * kOut], half[kTile * kOut];
  LoadTile<kOut>(dy + image * grid.height * grid.width * channels, grid, top, left, channels,
                 channel, d);
  for (int j = 0; j < kOut; ++j) OutputGradient<kOut>(d + j, half + j);
  for (int i = 0; i < kTile; ++i) {
    Lanes row[kTile];
    OutputGradient<1>(half + i * kOut, row);
    for (int j = 0; j < kTile; ++j) store(i * kTile + j, row[j]);
  }
}

// Where a matrix product's factors and sums lie. k comes in pairs, and those in segments of 8.
struct Layout {
  int64 pairs;
  int64 a_row, a_pair, a_segment;       // from one row, pair, segment of a to the next
  int64 b_register, b_pair, b_segment;  // of b, whose registers hold 16 columns of a pair
  int64 c_row, c_register;
};

constexpr int64 kSegment = 8;

// c[i, j] (+)= Σₖ a[i, k]·b[k, j].
template <int rows, int registers>
void Product(const uint16_t* a, const uint16_t* b, const Layout& layout, float* c, bool add) {
  const int64 a_row = layout.a_row, b_register = layout.b_register;
  const int64 c_row = layout.c_row, c_register = layout.c_register;
  Lanes sums[rows][registers];
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < registers; ++j)
      sums[i][j] = add ? _mm512_load_ps(c + i * c_row + j * c_register) : _mm512_setzero_ps();
  for (int64 first = 0; first < layout.pairs; first += kSegment) {
    const int64 count = std::min(kSegment, layout.pairs - first);
    const uint16_t *a_pair = a, *b_pair = b;
    for (int64 k = 0; k < count; ++k) {
      __m512bh columns[registers];
      for (int j = 0; j < registers; ++j)
        columns[j] = (__m512bh)_mm512_load_si512(b_pair + j * b_register);
      for (int i = 0; i < rows; ++i) {
        const __m512bh pair = (__m512bh)_mm512_set1_epi32(
            *reinterpret_cast<const int32_t*>(a_pair + i * a_row));
        for (int j = 0; j < registers; ++j)
          sums[i][j] = _mm512_dpbf16_ps(sums[i][j], pair, columns[j]);
      }
      a_pair += layout.a_pair;
      b_pair += layout.b_pair;
    }
    a += layout.a_segment;
    b += layout.b_segment;
  }
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < registers; ++j)
      _mm512_store_ps(c + i * c_row + j * c_register, sums[i][j]);
}

using ProductFn = void (*)(const uint16_t*, const uint16_t*, const Layout&, float*, bool);

template <int registers>
ProductFn ProductOfRows(int64 rows) {
  static constexpr ProductFn kFunctions[] = {
      Product<1, registers>, Product<2, registers>, Product<3, registers>,
      Product<4, registers>, Product<5, registers>, Product<6, registers>};
  return kFunctions[rows - 1];
}

// c of any number of rows and 16·registers columns.
void Multiply(int64 rows, int registers, const uint16_t* a, const uint16_t* b,
              const Layout& layout, float* c, bool add) {
  for (int64 i = 0, n = 0; i < rows; i += n) {
    const int64 blocks = (rows - i + kRows - 1) / kRows;
    n = (rows - i + blocks - 1) / blocks;  // 16 rows are 6, 5 and 5
    const ProductFn product = registers == 4   ? ProductOfRows<4>(n)
                              : registers == 3 ? ProductOfRows<3>(n)
                              : registers == 2 ? ProductOfRows<2>(n)
                                               : ProductOfRows<1>(n);
    product(a + i * layout.a_row, b, layout, c + i * layout.c_row, add);
  }
}

inline int64 RoundUp(int64 value, int64 to) { return (value + to - 1) / to * to; }

// Registers of the panel that begins at `column` of `padded` columns.
inline int Registers(int64 column, int64 padded) {
  return static_cast<int>(std::min<int64>(kPanel, padded - column) / kLanes);
}

// Memory for the points of a call, given back to a pool at the end: to touch fresh pages costs
// more than the arithmetic on them. The pool keeps one block for each call that ran at a time.
class Scratch {
 public:
  explicit Scratch(int64 bytes) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (!free_.empty()) {
        block_ = free_.back();
        free_.pop_back();
      }
    }
    if (block_.bytes < bytes) {
      std::free(block_.memory);
      constexpr int64 kHugePage = 2 << 20;
      block_.bytes = RoundUp(bytes, kHugePage);
      block_.memory = std::aligned_alloc(kHugePage, block_.bytes);
      if (block_.memory == nullptr) throw std::bad_alloc();
      madvise(block_.memory, block_.bytes, MADV_HUGEPAGE);  // a wish: without it the same, slower
    }
    next_ = static_cast<char*>(block_.memory);
  }
  ~Scratch() {
    std::lock_guard<std::mutex> lock(mutex_);
    free_.push_back(block_);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  // The next `size` values, which begin a cache line.
  template <typename T>
  T* Take(int64 size) {
    T* values = reinterpret_cast<T*>(next_);
    next_ += Bytes<T>(size);
    return values;
  }

  template <typename T>
  static int64 Bytes(int64 size) { return RoundUp(size * sizeof(T), 64); }

 private:
  struct Block {
    void* memory = nullptr;
    int64 bytes = 0;
  };
  static std::mutex mutex_;
  static std::vector<Block> free_;
  Block block_;
  char* next_;
};

std::mutex Scratch::mutex_;
std::vector<Scratch::Block> Scratch::free_;

const uint16_t* Bits(const Tensor& tensor) {
  return reinterpret_cast<const uint16_t*>(tensor.flat<bfloat16>().data());
}

template <typename Function>
void Parallel(OpKernelContext* context, int64 total, int64 cycles, const Function& function) {
  const auto* workers = context->device()->tensorflow_cpu_worker_threads();
  tensorflow::Shard(workers->num_threads, workers->workers, total, cycles, function);
}

// Filters as 36 matrices [in, out], each in panels of 64 columns: [in/2, columns, 2].
void TransformFilters(OpKernelContext* context, const float* w, int64 in, int64 out,
                      uint16_t* u) {
  const int64 pairs = (in + 1) / 2, padded = RoundUp(out, kLanes);
  Parallel(context, pairs, padded * 40, [=](int64 begin, int64 end) {
    for (int64 k = begin; k < end; ++k) {
      for (int64 column = 0; column < padded; column += kLanes) {
        Lanes points[2][kPoints];
        for (int half = 0; half < 2; ++half) {
          const __mmask16 mask = 2 * k + half < in ? Mask(out - column) : 0;
          Lanes taps[9], rows[kTile * 3];
          for (int t = 0; t < 9; ++t)
            taps[t] = _mm512_maskz_loadu_ps(mask, w + (t * in + 2 * k + half) * out + column);
          for (int j = 0; j < 3; ++j) FilterTransform<3, 3>(taps + j, rows + j);
          for (int i = 0; i < kTile; ++i)
            FilterTransform<1, 1>(rows + i * 3, points[half] + i * kTile);
        }
        const int64 panel = column / kPanel * kPanel;
        const int64 place = panel * 2 * pairs + k * Registers(panel, padded) * 2 * kLanes +
                            (column - panel) * 2;
        for (int p = 0; p < kPoints; ++p)
          StorePairs(u + p * 2 * pairs * padded + place, points[0][p], points[1][p]);
      }
    }
  });
}

class Conv : public OpKernel {
 public:
  explicit Conv(OpKernelConstruction* context) : OpKernel(context) {}

  void Compute(OpKernelContext* context) override {
    const Tensor &x = context->input(0), &filters = context->input(1);
    OP_REQUIRES(context, x.dims() == 4 && filters.dims() == 4 && filters.dim_size(0) == 3 &&
                             filters.dim_size(1) == 3 && filters.dim_size(2) == x.dim_size(3),
                tensorflow::errors::InvalidArgument(
                    "must be x [n, h, w, in] and filters [3, 3, in, out]. Received: ",
                    x.shape().DebugString(), " and ", filters.shape().DebugString()));
    const int64 in = x.dim_size(3), out = filters.dim_size(3);
    const Grid grid(x.dim_size(0), x.dim_size(1), x.dim_size(2));
    Tensor* y = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(
                                0, TensorShape({grid.images, grid.height, grid.width, out}), &y));
    if (y->NumElements() == 0) return;
    const int64 pairs = (in + 1) / 2, padded = RoundUp(out, kLanes);
    const int64 u_size = kPoints * 2 * pairs * padded;
    Scratch filter_scratch(Scratch::Bytes<uint16_t>(u_size));
    uint16_t* u = filter_scratch.Take<uint16_t>(u_size);
    TransformFilters(context, filters.flat<float>().data(), in, out, u);

    // A tile's points lie together, 16 channels at a time: [tile, channels/16, 36, 16]. Scattered,
    // each would miss the first-level cache.
    const int64 v_group = kPoints * kLanes, m_group = kPoints * kLanes;
    const int64 v_tile = RoundUp(in, kLanes) / kLanes * v_group + kPad;
    const int64 m_tile = kPanel / kLanes * m_group + kPad / 2;
    // Points of a block's inputs and of a panel of its outputs fit the second-level cache (1 MiB).
    const int64 fit = 600'000 / (2 * v_tile + 4 * m_tile);
    const int64 block = std::max<int64>(fit / kRows, 2) * kRows;
    const int64 blocks = (grid.tiles() + block - 1) / block;
    const uint16_t *input = Bits(x), *filter_points = u;
    uint16_t* output = reinterpret_cast<uint16_t*>(y->flat<bfloat16>().data());
    Parallel(context, blocks, block * kPoints * pairs * padded / 16,
             [&](int64 begin, int64 end) {
               Scratch scratch(Scratch::Bytes<float>(block * m_tile) +
                               Scratch::Bytes<uint16_t>(block * v_tile));
               float* m = scratch.Take<float>(block * m_tile);
               auto* v = scratch.Take<uint16_t>(block * v_tile);
               for (int64 b = begin; b < end; ++b) {
                 const int64 first = b * block, count = std::min(block, grid.tiles() - first);
                 GatherInputs(input, grid, in, first, count, v_tile, v);
                 for (int64 panel = 0; panel < padded; panel += kPanel) {
                   const int registers = Registers(panel, padded);
                   const int64 b_pair = 2 * kLanes * registers;
                   const Layout layout = {pairs,  v_tile, 2, v_group, 2 * kLanes, b_pair,
                                          kSegment * b_pair, m_tile, m_group};
                   for (int p = 0; p < kPoints; ++p)
                     Multiply(count, registers, v + p * kLanes,
                              filter_points + (p * padded + panel) * 2 * pairs, layout,
                              m + p * kLanes, false);
                   ScatterOutputs(m, grid, out, first, count, m_tile, panel, registers, output);
                 }
               }
             });
  }

 private:
  static void GatherInputs(const uint16_t* x, const Grid& grid, int64 in, int64 first,
                           int64 count, int64 v_tile, uint16_t* v) {
    for (int64 t = 0; t < count; ++t) {
      for (int64 c = 0; c < in; c += kLanes) {
        uint16_t* to = v + t * v_tile + c * kPoints;
        InputPoints(x, grid, first + t, in, c,
                    [=](int p, Lanes value) { StoreBf16(to + p * kLanes, 0xFFFF, value); });
      }
    }
  }

  static void ScatterOutputs(const float* m, const Grid& grid, int64 out, int64 first,
                             int64 count, int64 m_tile, int64 panel, int registers, uint16_t* y) {
    for (int64 t = 0; t < count; ++t) {
      int64 image, top, left;
      grid.Place(first + t, &image, &top, &left);
      for (int g = 0; g < registers; ++g) {
        const int64 channel = panel + g * kLanes;
        const __mmask16 mask = Mask(out - channel);
        const float* from = m + t * m_tile + g * kPoints * kLanes;
        Lanes half[kOut * kTile], tile[kOut * kOut];
        for (int j = 0; j < kTile; ++j) {
          Lanes column[kTile], outputs[kOut];
          for (int i = 0; i < kTile; ++i)
            column[i] = _mm512_load_ps(from + (i * kTile + j) * kLanes);
          OutputTransform<1>(column, outputs);
          for (int i = 0; i < kOut; ++i) half[i * kTile + j] = outputs[i];
        }
        for (int i = 0; i < kOut; ++i) OutputTransform<1>(half + i * kTile, tile + i * kOut);
        const int64 rows = std::min<int64>(kOut, grid.height - top);
        const int64 columns = std::min<int64>(kOut, grid.width - left);
        uint16_t* to = y + ((image * grid.height + top) * grid.width + left) * out + channel;
        for (int i = 0; i < rows; ++i)
          for (int j = 0; j < columns; ++j)
            StoreBf16(to + (i * grid.width + j) * out, mask, tile[i * kOut + j]);
      }
    }
  }
};

class ConvFilterGradient : public OpKernel {
 public:
  explicit ConvFilterGradient(OpKernelConstruction* context) : OpKernel(context) {}

  void Compute(OpKernelContext* context) override {
    const Tensor &x = context->input(0), &dy = context->input(1);
    OP_REQUIRES(context, x.dims() == 4 && dy.dims() == 4 && x.dim_size(0) == dy.dim_size(0) &&
                             x.dim_size(1) == dy.dim_size(1) && x.dim_size(2) == dy.dim_size(2),
                tensorflow::errors::InvalidArgument(
                    "must be x [n, h, w, in] and dy [n, h, w, out]. Received: ",
                    x.shape().DebugString(), " and ", dy.shape().DebugString()));
    const int64 in = x.dim_size(3), out = dy.dim_size(3);
    const Grid grid(x.dim_size(0), x.dim_size(1), x.dim_size(2));
    Tensor* dw = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, TensorShape({3, 3, in, out}), &dw));
    if (dw->NumElements() == 0) return;
    const int64 padded_in = RoundUp(in, kLanes), padded_out = RoundUp(out, kLanes);
    // The sums are read and written once a chunk of tiles; its points fit the third-level cache.
    const int64 tiles = 2 * kSegment;  // of a segment
    const int64 fit = 8'000'000 / (2 * (Segment(padded_in) + Segment(padded_out)));
    const int64 segments =
        std::min((grid.tiles() + tiles - 1) / tiles, std::max(fit / 4, int64{1}) * 4);
    const int64 v_size = segments * Segment(padded_in), d_size = segments * Segment(padded_out);
    const int64 sums = kPoints * padded_in * padded_out;
    Scratch scratch(Scratch::Bytes<uint16_t>(v_size) + Scratch::Bytes<uint16_t>(d_size) +
                    Scratch::Bytes<float>(sums));
    auto *v = scratch.Take<uint16_t>(v_size), *d = scratch.Take<uint16_t>(d_size);
    float* du = scratch.Take<float>(sums);
    const uint16_t *inputs = Bits(x), *gradients = Bits(dy);
    if (grid.tiles() == 0) std::fill_n(du, sums, 0.f);
    for (int64 first = 0; first < grid.tiles(); first += segments * tiles) {
      const int64 count = std::min(segments, (grid.tiles() - first + tiles - 1) / tiles);
      const int64 work = tiles * (padded_in + padded_out) * 20;
      Parallel(context, count, work, [&](int64 begin, int64 end) {
        for (int64 s = begin; s < end; ++s) {
          GatherSegment<true>(inputs, grid, in, first + s * tiles, padded_in,
                              v + s * Segment(padded_in));
          GatherSegment<false>(gradients, grid, out, first + s * tiles, padded_out,
                               d + s * Segment(padded_out));
        }
      });
      const int64 pairs = count * kSegment;
      Parallel(context, kPoints, pairs * padded_in * padded_out / 16, [&](int64 begin, int64 end) {
        for (int64 p = begin; p < end; ++p)
          Sum(p, pairs, padded_in, padded_out, v, d, first > 0, du);
      });
    }
    TransformSums(context, du, in, out, padded_in, padded_out, dw->flat<float>().data());
  }

 private:
  // Points of 16 tiles: [channels/16, 36, 8 pairs, 16 channels, 2], a line after each 8 pairs.
  // Those of 16 channels fill a part of the first-level cache before the next ones do.
  static constexpr int64 kPoint = kSegment * 2 * kLanes + kPad, kGroup = kPoints * kPoint;

  static int64 Segment(int64 padded) { return padded / kLanes * kGroup; }

  template <bool inputs>
  static void GatherSegment(const uint16_t* from, const Grid& grid, int64 channels, int64 first,
                            int64 padded, uint16_t* to) {
    for (int64 c = 0; c < padded; c += kLanes) {
      for (int64 q = 0; q < kSegment; ++q) {
        uint16_t* place = to + c / kLanes * kGroup + q * 2 * kLanes;
        Lanes points[kPoints];
        const auto keep = [&](int p, Lanes value) { points[p] = value; };
        const auto store = [&](int p, Lanes value) {
          StorePairs(place + p * kPoint, points[p], value);
        };
        const int64 tile = first + 2 * q;
        if (inputs) {
          InputPoints(from, grid, tile, channels, c, keep);
          InputPoints(from, grid, tile + 1, channels, c, store);
        } else {
          OutputGradientPoints(from, grid, tile, channels, c, keep);
          OutputGradientPoints(from, grid, tile + 1, channels, c, store);
        }
      }
    }
  }

  static void Sum(int64 p, int64 pairs, int64 padded_in, int64 padded_out, const uint16_t* v,
                  const uint16_t* d, bool add, float* du) {
    const Layout layout = {pairs,  2, 2 * kLanes, Segment(padded_in), kGroup, 2 * kLanes,
                           Segment(padded_out), padded_out, kLanes};
    for (int64 column = 0; column < padded_out; column += kPanel) {
      const uint16_t* b = d + column / kLanes * kGroup + p * kPoint;
      for (int64 row = 0; row < padded_in; row += kLanes)
        Multiply(kLanes, Registers(column, padded_out), v + row / kLanes * kGroup + p * kPoint, b,
                 layout, du + (p * padded_in + row) * padded_out + column, add);
    }
  }

  static void TransformSums(OpKernelContext* context, const float* du, int64 in, int64 out,
                            int64 padded_in, int64 padded_out, float* dw) {
    Parallel(context, in, padded_out * 40, [=](int64 begin, int64 end) {
      for (int64 row = begin; row < end; ++row) {
        for (int64 column = 0; column < out; column += kLanes) {
          Lanes points[kPoints], half[3 * kTile], taps[9];
          for (int p = 0; p < kPoints; ++p)
            points[p] = _mm512_load_ps(du + (p * padded_in + row) * padded_out + column);
          for (int j = 0; j < kTile; ++j) FilterGradient<kTile, kTile>(points + j, half + j);
          for (int i = 0; i < 3; ++i) FilterGradient<1, 1>(half + i * kTile, taps + i * 3);
          for (int t = 0; t < 9; ++t)
            _mm512_mask_storeu_ps(dw + (t * in + row) * out + column, Mask(out - column), taps[t]);
        }
      }
    });
  }
};

}  // namespace

REGISTER_OP("TfscWinogradConv")
    .Input("x: bfloat16")
    .Input("filters: float")
    .Output("y: bfloat16")
    .SetShapeFn([](tensorflow::shape_inference::InferenceContext* context) {
      tensorflow::shape_inference::ShapeHandle x, filters, y;
      TF_RETURN_IF_ERROR(context->WithRank(context->input(0), 4, &x));
      TF_RETURN_IF_ERROR(context->WithRank(context->input(1), 4, &filters));
      TF_RETURN_IF_ERROR(context->ReplaceDim(x, 3, context->Dim(filters, 3), &y));
      context->set_output(0, y);
      return absl::OkStatus();
    });

REGISTER_OP("TfscWinogradConvFilterGradient")
    .Input("x: bfloat16")
    .Input("dy: bfloat16")
    .Output("dw: float")
    .SetShapeFn([](tensorflow::shape_inference::InferenceContext* context) {
      tensorflow::shape_inference::ShapeHandle x, dy;
      TF_RETURN_IF_ERROR(context->WithRank(context->input(0), 4, &x));
      TF_RETURN_IF_ERROR(context->WithRank(context->input(1), 4, &dy));
      context->set_output(
          0, context->MakeShape({3, 3, context->Dim(x, 3), context->Dim(dy, 3)}));
      return absl::OkStatus();
    });

REGISTER_KERNEL_BUILDER(Name("TfscWinogradConv").Device(tensorflow::DEVICE_CPU), Conv);
REGISTER_KERNEL_BUILDER(Name("TfscWinogradConvFilterGradient").Device(tensorflow::DEVICE_CPU),
                        ConvFilterGradient);

}  // namespace tfsc
