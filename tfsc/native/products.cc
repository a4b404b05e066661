// Blocks of 6 rows and 64 columns of a product in registers; 16 columns where a register holds fewer
// than 16.

#include "products.h"

#include <algorithm>

#if defined(__AMX_BF16__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace tfsc {
namespace {

// Lanes of columns at a time. By AVX-512: 6·4 sums, 4 of columns and a broadcast, 29 of 32 registers.
// By AVX2: 6·1 sums of two registers, 2 of columns and a broadcast, 15 of 16. By NEON 29 of 32.
constexpr int kColumns = kWidth == kLanes ? 4 : 1;

template <typename Number, int rows, int registers, bool add>
void Product(const typename Number::Value* a, const typename Number::Value* b,
             const Layout& layout, float* c) {
  const int64_t a_row = layout.a_row, b_register = layout.b_register;
  const int64_t c_row = layout.c_row, c_register = layout.c_register;
  const int64_t a_step = layout.a_step, b_step = layout.b_step;
  Lanes sums[rows][registers];
#pragma GCC unroll 8
  for (int i = 0; i < rows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < registers; ++j)
      sums[i][j] = add ? LoadAligned(c + i * c_row + j * c_register) : Zero();
  for (int64_t left = layout.steps; left > 0; left -= layout.segment) {
    const auto *row = a, *column = b;
    for (int64_t k = std::min(layout.segment, left); k > 0; --k) {
      typename Number::Factors columns[registers];
#pragma GCC unroll 8
      for (int j = 0; j < registers; ++j) columns[j] = Number::LoadFactors(column + j * b_register);
#pragma GCC unroll 8
      for (int i = 0; i < rows; ++i) {
        const auto factor = Number::Broadcast(row + i * a_row);
#pragma GCC unroll 8
        for (int j = 0; j < registers; ++j)
          sums[i][j] = Number::Accumulate(sums[i][j], factor, columns[j]);
      }
      row += a_step;
      column += b_step;
    }
    a += layout.a_segment;
    b += layout.b_segment;
  }
#pragma GCC unroll 8
  for (int i = 0; i < rows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < registers; ++j)
      StoreAligned(c + i * c_row + j * c_register, sums[i][j]);
}

template <typename Number, int registers, bool add>
void MultiplyPanel(int64_t rows, const typename Number::Value* a, const typename Number::Value* b,
                   const Layout& layout, float* c) {
  using Function = void (*)(const typename Number::Value*, const typename Number::Value*,
                            const Layout&, float*);
  static constexpr Function kProducts[kRows] = {
      Product<Number, 1, registers, add>, Product<Number, 2, registers, add>,
      Product<Number, 3, registers, add>, Product<Number, 4, registers, add>,
      Product<Number, 5, registers, add>, Product<Number, 6, registers, add>};
  for (int64_t i = 0, n = 0; i < rows; i += n) {
    const int64_t blocks = (rows - i + kRows - 1) / kRows;
    n = (rows - i + blocks - 1) / blocks;  // 16 rows are 6, 5 and 5
    kProducts[n - 1](a + i * layout.a_row, b, layout, c + i * layout.c_row);
  }
}

template <typename Number, bool add>
void MultiplyPanels(int64_t rows, int registers, const typename Number::Value* a,
                    const typename Number::Value* b, const Layout& layout, float* c) {
  if constexpr (kColumns == 1) {
    for (int j = 0; j < registers; ++j)
      MultiplyPanel<Number, 1, add>(rows, a, b + j * layout.b_register, layout,
                                    c + j * layout.c_register);
  } else {
    if (registers == 4) return MultiplyPanel<Number, 4, add>(rows, a, b, layout, c);
    const int pair = registers & 2;
    if (pair) MultiplyPanel<Number, 2, add>(rows, a, b, layout, c);
    if (registers & 1)
      MultiplyPanel<Number, 1, add>(rows, a, b + pair * layout.b_register, layout,
                                    c + pair * layout.c_register);
  }
}

#if defined(__AMX_BF16__)

// AMX multiplies tiles of 16 rows and 32 values of the sums' index by as many and 16 columns. Blocks
// are 2×2 tiles of sums, 0 to 3, of rows in tiles 4 and 5 and columns in 6 and 7.
class Tiles {
 public:
  // For `depth` values of the sums' index at a time, 32 or 16.
  explicit Tiles(int depth) {
    Config config = {};
    for (int tile = 0; tile < 8; ++tile) {
      config.bytes[tile] = tile == 4 || tile == 5 ? 2 * depth : 64;
      config.rows[tile] = tile >= 6 ? depth / 2 : 16;
    }
    _tile_loadconfig(&config);
  }
  ~Tiles() { _tile_release(); }  // others on this thread have their own

  // Whether Linux lets this process use them.
  static bool AreAllowed() {
    constexpr int kRequest = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    static const bool allowed = syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
    return allowed;
  }

 private:
  struct alignas(64) Config {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t bytes[16] = {};
    uint8_t rows[16] = {};
  };
};

template <int rows, int columns, bool add>
void TileProduct(int depth, const uint16_t* a, const uint16_t* b, const Layout& layout, float* c) {
  const int64_t a_bytes = 2 * layout.a_row, b_bytes = 2 * layout.b_step;
  const int64_t c_bytes = 4 * layout.c_row, c_below = 16 * layout.c_row;
  const auto* a_below = a + 16 * layout.a_row;
  const auto* b_beside = b + layout.b_register;
  float* c_beside = c + layout.c_register;
  if constexpr (add) {
    _tile_loadd(0, c, c_bytes);
    if constexpr (columns > 1) _tile_loadd(1, c_beside, c_bytes);
    if constexpr (rows > 1) _tile_loadd(2, c + c_below, c_bytes);
    if constexpr (rows > 1 && columns > 1) _tile_loadd(3, c_beside + c_below, c_bytes);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  for (int64_t value = 0; value < 2 * layout.steps; value += depth) {
    const int64_t at = value / 2 * layout.b_step;
    _tile_loadd(4, a + value, a_bytes);
    _tile_loadd(6, b + at, b_bytes);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (columns > 1) {
      _tile_loadd(7, b_beside + at, b_bytes);
      _tile_dpbf16ps(1, 4, 7);
    }
    if constexpr (rows > 1) {
      _tile_loadd(5, a_below + value, a_bytes);
      _tile_dpbf16ps(2, 5, 6);
      if constexpr (columns > 1) _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, c, c_bytes);
  if constexpr (columns > 1) _tile_stored(1, c_beside, c_bytes);
  if constexpr (rows > 1) _tile_stored(2, c + c_below, c_bytes);
  if constexpr (rows > 1 && columns > 1) _tile_stored(3, c_beside + c_below, c_bytes);
}

// As many of the rows as there are whole tiles of; returns how many.
template <bool add>
int64_t MultiplyTiles(int64_t rows, int registers, const uint16_t* a, const uint16_t* b,
                      const Layout& layout, float* c) {
  if (layout.a_step != 2 || layout.steps > layout.segment || layout.steps % 8 != 0 || rows < 16 ||
      !Tiles::AreAllowed())
    return 0;
  const int depth = layout.steps % 16 == 0 ? 32 : 16;
  const Tiles tiles(depth);
  rows = rows / 16 * 16;
  for (int64_t row = 0; row < rows; row += 32) {
    const bool pair = row + 32 <= rows;
    for (int j = 0; j < registers; j += 2) {
      const auto product = j + 1 < registers
                               ? (pair ? TileProduct<2, 2, add> : TileProduct<1, 2, add>)
                               : (pair ? TileProduct<2, 1, add> : TileProduct<1, 1, add>);
      product(depth, a + row * layout.a_row, b + j * layout.b_register, layout,
              c + row * layout.c_row + j * layout.c_register);
    }
  }
  return rows;
}

#endif

}  // namespace

template <typename Number>
void Multiply(int64_t rows, int registers, const typename Number::Value* a,
              const typename Number::Value* b, const Layout& layout, float* c, bool add) {
#if defined(__AMX_BF16__)
  if constexpr (Number::kTogether == 2) {
    const int64_t done = (add ? MultiplyTiles<true> : MultiplyTiles<false>)(rows, registers, a, b,
                                                                            layout, c);
    rows -= done, a += done * layout.a_row, c += done * layout.c_row;
    if (rows == 0) return;
  }
#endif
  (add ? MultiplyPanels<Number, true> : MultiplyPanels<Number, false>)(rows, registers, a, b,
                                                                       layout, c);
}

template void Multiply<Float32>(int64_t, int, const float*, const float*, const Layout&, float*,
                                bool);
#if defined(__AVX512BF16__) && defined(__AVX512BW__) && defined(__AVX512VL__)
template void Multiply<BFloat16>(int64_t, int, const uint16_t*, const uint16_t*, const Layout&,
                                 float*, bool);
#endif

}  // namespace tfsc
