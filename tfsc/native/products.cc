// Blocks of 6 rows and 64 columns of a product in registers; 16 columns where a register holds fewer
// than 16.

#include "products.h"

#include <algorithm>

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

}  // namespace

template <typename Number>
void Multiply(int64_t rows, int registers, const typename Number::Value* a,
              const typename Number::Value* b, const Layout& layout, float* c, bool add) {
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
