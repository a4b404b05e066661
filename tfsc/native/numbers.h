// The two kinds of numbers that maps are made of: how 16 of them become float32 and back, and how
// products of them are summed in float32.

#ifndef TFSC_NATIVE_NUMBERS_H_
#define TFSC_NATIVE_NUMBERS_H_

#include <immintrin.h>

#include <cstdint>

namespace tfsc {

constexpr int kLanes = 16;  // float32 of a register
using Lanes = __m512;

// The lowest `lanes` of 16.
inline __mmask16 Mask(int64_t lanes) {
  if (lanes >= kLanes) return 0xFFFF;
  return lanes <= 0 ? 0 : static_cast<__mmask16>((1u << lanes) - 1);
}

// Each kind has
//   Value        one number in memory
//   kTogether    products that one instruction sums in each lane; so many numbers lie side by side
//   kRegister    values of a register of factors: kTogether for each of 16 columns
//   Load, Store  16 values, or those of a mask; an address need not be aligned
//   LoadAll      reads all 16; those outside the mask are 0
//   StoreFactors kTogether × 16 values as a register of factors, whose address is aligned
//   Factors, LoadFactors, Broadcast, Accumulate: sums + one row's kTogether values · columns

struct Float32 {
  using Value = float;
  static constexpr int kTogether = 1, kRegister = kLanes;

  static Lanes Load(const float* from) { return _mm512_loadu_ps(from); }
  static Lanes Load(const float* from, __mmask16 mask) {
    return _mm512_maskz_loadu_ps(mask, from);
  }
  static Lanes LoadAll(const float* from, __mmask16 mask) { return Load(from, mask); }
  static void Store(float* to, __mmask16 mask, Lanes values) {
    if (mask == 0xFFFF) {
      _mm512_storeu_ps(to, values);
    } else {
      _mm512_mask_storeu_ps(to, mask, values);
    }
  }
  static void StoreFactors(float* to, const Lanes* values) { _mm512_store_ps(to, values[0]); }

  using Factors = __m512;
  static Factors LoadFactors(const float* from) { return _mm512_load_ps(from); }
  static Factors Broadcast(const float* from) { return _mm512_set1_ps(*from); }
  static Lanes Accumulate(Lanes sums, Factors row, Factors columns) {
    return _mm512_fmadd_ps(row, columns, sums);
  }
};

struct BFloat16 {
  using Value = uint16_t;
  static constexpr int kTogether = 2, kRegister = 2 * kLanes;

  static Lanes Load(const uint16_t* from) {
    const __m256i values = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(values), 16));
  }
  static Lanes Load(const uint16_t* from, __mmask16 mask) {
    return _mm512_castsi512_ps(
        _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, from)), 16));
  }
  static Lanes LoadAll(const uint16_t* from, __mmask16 mask) {
    const __m256i values = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    return _mm512_castsi512_ps(_mm512_maskz_slli_epi32(mask, _mm512_cvtepu16_epi32(values), 16));
  }
  // A masked store costs some twenty cycles more on Zen 4, so only where lanes are missing.
  static void Store(uint16_t* to, __mmask16 mask, Lanes values) {
    const __m256i bits = (__m256i)_mm512_cvtneps_pbh(values);
    if (mask == 0xFFFF) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), bits);
    } else {
      _mm256_mask_storeu_epi16(to, mask, bits);
    }
  }
  // values[0][0], values[1][0], values[0][1], values[1][1], …
  static void StoreFactors(uint16_t* to, const Lanes* values) {
    alignas(64) static const uint16_t kOrder[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                    21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                    11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    const __m512i both = (__m512i)_mm512_cvtne2ps_pbh(values[1], values[0]);
    _mm512_store_si512(to, _mm512_permutexvar_epi16(_mm512_load_si512(kOrder), both));
  }

  using Factors = __m512bh;
  static Factors LoadFactors(const uint16_t* from) { return (__m512bh)_mm512_load_si512(from); }
  static Factors Broadcast(const uint16_t* from) {
    return (__m512bh)_mm512_set1_epi32(*reinterpret_cast<const int32_t*>(from));
  }
  static Lanes Accumulate(Lanes sums, Factors row, Factors columns) {
    return _mm512_dpbf16_ps(sums, row, columns);
  }
};

}  // namespace tfsc

#endif  // TFSC_NATIVE_NUMBERS_H_
