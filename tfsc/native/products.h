// Matrix products with float32 sums: blocks of 6 rows and 64 columns in registers; 16 columns where a
// register holds fewer than 16.

#ifndef TFSC_NATIVE_PRODUCTS_H_
#define TFSC_NATIVE_PRODUCTS_H_

#include <algorithm>
#include <cstdint>

#include "numbers.h"

namespace tfsc {

constexpr int kPanel = 64;  // columns that lie together: 4 Lanes
constexpr int kRows = 6;
// Lanes of columns at a time. By AVX-512: 6·4 sums, 4 of columns and a broadcast, 29 of 32 registers.
// By AVX2: 6·1 sums of two registers, 2 of columns and a broadcast, 15 of 16. By NEON 29 of 32.
constexpr int kColumns = kWidth == kLanes ? 4 : 1;

// Where the factors and sums of c (+)= a·b lie. A step is kTogether values of the sums' index.
struct Layout {
  int64_t steps, segment;            // all; those that lie evenly
  int64_t a_row, a_step, a_segment;  // from one row, step, segment of a to the next
  int64_t b_register, b_step, b_segment;  // of b, whose registers hold 16 columns of a step
  int64_t c_row, c_register;
};

template <typename Number, int rows, int registers>
void Product(const typename Number::Value* a, const typename Number::Value* b,
             const Layout& layout, float* c, bool add) {
  const int64_t a_row = layout.a_row, b_register = layout.b_register;
  const int64_t c_row = layout.c_row, c_register = layout.c_register;
  Lanes sums[rows][registers];
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < registers; ++j)
      sums[i][j] = add ? LoadAligned(c + i * c_row + j * c_register) : Zero();
  for (int64_t first = 0; first < layout.steps; first += layout.segment) {
    const int64_t count = std::min(layout.segment, layout.steps - first);
    const auto *a_step = a, *b_step = b;
    for (int64_t k = 0; k < count; ++k) {
      typename Number::Factors columns[registers];
      for (int j = 0; j < registers; ++j) columns[j] = Number::LoadFactors(b_step + j * b_register);
      for (int i = 0; i < rows; ++i) {
        const auto row = Number::Broadcast(a_step + i * a_row);
        for (int j = 0; j < registers; ++j)
          sums[i][j] = Number::Accumulate(sums[i][j], row, columns[j]);
      }
      a_step += layout.a_step;
      b_step += layout.b_step;
    }
    a += layout.a_segment;
    b += layout.b_segment;
  }
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < registers; ++j)
      StoreAligned(c + i * c_row + j * c_register, sums[i][j]);
}

template <typename Number, int registers>
void MultiplyPanel(int64_t rows, const typename Number::Value* a, const typename Number::Value* b,
                   const Layout& layout, float* c, bool add) {
  using Function = void (*)(const typename Number::Value*, const typename Number::Value*,
                            const Layout&, float*, bool);
  static constexpr Function kProducts[kRows] = {
      Product<Number, 1, registers>, Product<Number, 2, registers>, Product<Number, 3, registers>,
      Product<Number, 4, registers>, Product<Number, 5, registers>, Product<Number, 6, registers>};
  for (int64_t i = 0, n = 0; i < rows; i += n) {
    const int64_t blocks = (rows - i + kRows - 1) / kRows;
    n = (rows - i + blocks - 1) / blocks;  // 16 rows are 6, 5 and 5
    kProducts[n - 1](a + i * layout.a_row, b, layout, c + i * layout.c_row, add);
  }
}

// Any number of rows, 16·registers columns.
template <typename Number>
void Multiply(int64_t rows, int registers, const typename Number::Value* a,
              const typename Number::Value* b, const Layout& layout, float* c, bool add) {
  if constexpr (kColumns == 1) {
    for (int j = 0; j < registers; ++j)
      MultiplyPanel<Number, 1>(rows, a, b + j * layout.b_register, layout,
                               c + j * layout.c_register, add);
  } else {
    const auto multiply = registers == 4   ? MultiplyPanel<Number, 4>
                          : registers == 3 ? MultiplyPanel<Number, 3>
                          : registers == 2 ? MultiplyPanel<Number, 2>
                                           : MultiplyPanel<Number, 1>;
    multiply(rows, a, b, layout, c, add);
  }
}

}  // namespace tfsc

#endif  // TFSC_NATIVE_PRODUCTS_H_
