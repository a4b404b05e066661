// The two kinds of numbers that maps are made of: how 16 of them become float32 and back, and how
// products of them are summed in float32.

#ifndef TFSC_NATIVE_NUMBERS_H_
#define TFSC_NATIVE_NUMBERS_H_

#include <cstdint>

#include "lanes.h"

namespace tfsc {

// Each kind has
//   Value        one number in memory
//   Load, Store  16 values, or the lowest of them; an address need not be aligned
// and, where products of them can be summed (kMultiplies),
//   kTogether    products that one instruction sums in each lane; so many numbers lie side by side
//   kRegister    values of a register of factors: kTogether for each of 16 columns
//   kAcross      whether rows of factors had better be one value of the sums' index beside the next
//   StoreFactors kTogether × 16 values as a register of factors, whose address is aligned
//   Factors, LoadFactors, Broadcast, Accumulate: sums + one row's kTogether values · columns

struct Float32 {
  using Value = float;
  static constexpr bool kMultiplies = true;
  static constexpr int kTogether = 1, kRegister = kLanes;
  static constexpr bool kAcross = false;

  static Lanes Load(const float* from) { return LoadLanes(from); }
  static Lanes Load(const float* from, int lanes) { return LoadLanes(from, lanes); }
  static void Store(float* to, int lanes, Lanes values) { StoreLanes(to, values, lanes); }
  static void StoreFactors(float* to, const Lanes* values) { StoreAligned(to, values[0]); }

  using Factors = Lanes;
  static Factors LoadFactors(const float* from) { return LoadAligned(from); }
  static Factors Broadcast(const float* from) { return Set(*from); }
  static Lanes Accumulate(Lanes sums, Factors row, Factors columns) {
    return Fma(row, columns, sums);
  }
};

#if defined(__AVX512BF16__) && defined(__AVX512BW__) && defined(__AVX512VL__)

struct BFloat16 {
  using Value = uint16_t;
  static constexpr bool kMultiplies = true;
  static constexpr int kTogether = 2, kRegister = 2 * kLanes;
#if defined(__AMX_BF16__)
  static constexpr bool kAcross = true;  // as tiles of AMX are
#else
  static constexpr bool kAcross = false;
#endif

  static Lanes Load(const uint16_t* from) {
    return Widened(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
  }
  static Lanes Load(const uint16_t* from, int lanes) {
    return Widened(_mm256_maskz_loadu_epi16(Mask(lanes), from));
  }
  // A masked store costs some twenty cycles more on Zen 4, so only where lanes are missing.
  static void Store(uint16_t* to, int lanes, Lanes values) {
    const __m256i bits = (__m256i)_mm512_cvtneps_pbh((__m512)values.piece[0]);
    if (lanes == kLanes) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), bits);
    } else {
      _mm256_mask_storeu_epi16(to, Mask(lanes), bits);
    }
  }
  // values[0][0], values[1][0], values[0][1], values[1][1], …
  static void StoreFactors(uint16_t* to, const Lanes* values) {
    alignas(64) static const uint16_t kOrder[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                    21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                    11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    const __m512i both = (__m512i)_mm512_cvtne2ps_pbh((__m512)values[1].piece[0],
                                                      (__m512)values[0].piece[0]);
    _mm512_store_si512(to, _mm512_permutexvar_epi16(_mm512_load_si512(kOrder), both));
  }

  // 16 steps of factors, `step` values apart, turned round: to[row] has 32 values.
  static void Turn(const uint16_t* from, int64_t step, uint16_t* to, int64_t row) {
    __m512i v[16], t[16];
    for (int i = 0; i < 16; ++i) v[i] = _mm512_loadu_si512(from + i * step);
    for (int i = 0; i < 16; i += 2) {
      t[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]);
      t[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
      v[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
      v[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
      v[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
      v[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int i = 0; i < 16; i += 8) {
      for (int k = 0; k < 4; ++k) {
        t[i + k] = _mm512_shuffle_i32x4(v[i + k], v[i + k + 4], 0x88);
        t[i + k + 4] = _mm512_shuffle_i32x4(v[i + k], v[i + k + 4], 0xdd);
      }
    }
    for (int k = 0; k < 8; ++k) {
      _mm512_storeu_si512(to + k * row, _mm512_shuffle_i32x4(t[k], t[k + 8], 0x88));
      _mm512_storeu_si512(to + (k + 8) * row, _mm512_shuffle_i32x4(t[k], t[k + 8], 0xdd));
    }
  }

  using Factors = __m512bh;
  static Factors LoadFactors(const uint16_t* from) { return (__m512bh)_mm512_load_si512(from); }
  static Factors Broadcast(const uint16_t* from) {
    return (__m512bh)_mm512_set1_epi32(*reinterpret_cast<const int32_t*>(from));
  }
  static Lanes Accumulate(Lanes sums, Factors row, Factors columns) {
    return {{(Piece)_mm512_dpbf16_ps((__m512)sums.piece[0], row, columns)}};
  }

 private:
  static Lanes Widened(__m256i values) {
    return {{(Piece)_mm512_slli_epi32(_mm512_cvtepu16_epi32(values), 16)}};
  }
};

#else  // bfloat16 as 16 upper bits of float32, for what multiplies no matrices

struct BFloat16 {
  using Value = uint16_t;
  static constexpr bool kMultiplies = false;
  using Bits = Vector<uint32_t, kWidth>;
  using Halves = Vector<uint16_t, kWidth>;

  static Lanes Load(const uint16_t* from) {
    return Each([=](int k) {
      Halves halves;
      std::memcpy(&halves, from + k * kWidth, sizeof(halves));
      return (Piece)(__builtin_convertvector(halves, Bits) << 16);
    });
  }
  static Lanes Load(const uint16_t* from, int lanes) {
    if (lanes == kLanes) return Load(from);
    uint16_t held[kLanes] = {};
    std::memcpy(held, from, lanes * sizeof(uint16_t));
    return Load(held);
  }
  static void Store(uint16_t* to, int lanes, Lanes values) {
    uint16_t held[kLanes];
    uint16_t* place = lanes == kLanes ? to : held;
    for (int k = 0; k < kPieces; ++k) {
      const Halves halves = Rounded(values.piece[k]);
      std::memcpy(place + k * kWidth, &halves, sizeof(halves));
    }
    if (lanes != kLanes) std::memcpy(to, held, lanes * sizeof(uint16_t));
  }

 private:
  // To the nearest, of two the even one; what is no number stays none.
  static Halves Rounded(Piece values) {
    const Bits bits = (Bits)values;
    const Bits rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
    const Bits nan = (bits >> 16) | 0x40;
    return __builtin_convertvector(values == values ? rounded : nan, Halves);
  }
};

#endif

}  // namespace tfsc

#endif  // TFSC_NATIVE_NUMBERS_H_
