// Matrix products with float32 sums.

#ifndef TFSC_NATIVE_PRODUCTS_H_
#define TFSC_NATIVE_PRODUCTS_H_

#include <cstdint>

#include "numbers.h"

namespace tfsc {

constexpr int kPanel = 64;  // columns that lie together: 4 Lanes
constexpr int kRows = 6;

// Where the factors and sums of c (+)= a·b lie. A step is kTogether values of the sums' index.
struct Layout {
  int64_t steps, segment;            // all; those that lie evenly
  int64_t a_row, a_step, a_segment;  // from one row, step, segment of a to the next
  int64_t b_register, b_step, b_segment;  // of b, whose registers hold 16 columns of a step
  int64_t c_row, c_register;
};

// Any number of rows, 16·registers columns, up to 64. `add`: to what is there.
template <typename Number>
void Multiply(int64_t rows, int registers, const typename Number::Value* a,
              const typename Number::Value* b, const Layout& layout, float* c, bool add);

}  // namespace tfsc

#endif  // TFSC_NATIVE_PRODUCTS_H_
