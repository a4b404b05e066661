// `Lanes`: 16 float32, in as many registers as the processor needs for them, and what is done with
// them. All else in this folder is written with these; what a level of processors spells in its own
// way is here and in numbers.h.
//
// Built for AVX-512 a value of Lanes is one register, for AVX2 two, for NEON four. Each operation
// rounds once, in every lane alike, whatever the width: -ffp-contract=off, and Fma where one rounding
// is meant for a product and a sum.

#ifndef TFSC_NATIVE_LANES_H_
#define TFSC_NATIVE_LANES_H_

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#include <cmath>
#include <cstdint>
#include <cstring>

namespace tfsc {

#if defined(__AVX512F__)
constexpr int kWidth = 16;  // float32 of a register
#elif defined(__AVX2__)
constexpr int kWidth = 8;
#else
constexpr int kWidth = 4;
#endif
constexpr int kLanes = 16;
constexpr int kPieces = kLanes / kWidth;

template <typename T, int count>
using Vector [[gnu::vector_size(sizeof(T) * count)]] = T;
using Piece = Vector<float, kWidth>;

// Products and sums of one rounding, in one instruction.
inline Vector<float, 4> FusedMultiplyAdd(Vector<float, 4> a, Vector<float, 4> b,
                                         Vector<float, 4> c) {
#if defined(__FMA__)
  return (Vector<float, 4>)_mm_fmadd_ps((__m128)a, (__m128)b, (__m128)c);
#elif defined(__ARM_NEON)
  return (Vector<float, 4>)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#endif
}
#if defined(__AVX2__)
inline Vector<float, 8> FusedMultiplyAdd(Vector<float, 8> a, Vector<float, 8> b,
                                         Vector<float, 8> c) {
  return (Vector<float, 8>)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
#endif
#if defined(__AVX512F__)
inline Vector<float, 16> FusedMultiplyAdd(Vector<float, 16> a, Vector<float, 16> b,
                                          Vector<float, 16> c) {
  return (Vector<float, 16>)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
#endif

struct Lanes {
  Piece piece[kPieces];
};

// Calls function(piece of the result, its number) for all pieces.
template <typename Function>
inline Lanes Each(const Function& function) {
  Lanes result;
#pragma GCC unroll 4
  for (int k = 0; k < kPieces; ++k) result.piece[k] = function(k);
  return result;
}

inline Lanes Set(float value) {
  return Each([=](int) { return value - Piece{}; });  // (value + 0 would not keep −0)
}
inline Lanes Zero() {
  return Each([](int) { return Piece{}; });
}
inline Lanes Add(Lanes a, Lanes b) {
  return Each([&](int k) { return a.piece[k] + b.piece[k]; });
}
inline Lanes Sub(Lanes a, Lanes b) {
  return Each([&](int k) { return a.piece[k] - b.piece[k]; });
}
inline Lanes Mul(Lanes a, Lanes b) {
  return Each([&](int k) { return a.piece[k] * b.piece[k]; });
}
inline Lanes Mul(float a, Lanes b) { return Mul(Set(a), b); }
// a·x + b
inline Lanes Fma(Lanes a, Lanes x, Lanes b) {
  return Each([&](int k) { return FusedMultiplyAdd(a.piece[k], x.piece[k], b.piece[k]); });
}
inline Lanes Fma(float a, Lanes x, Lanes b) { return Fma(Set(a), x, b); }
// 1/√x
inline Lanes InverseRoot(Lanes x) {
  return Each([&](int k) {
    Piece root;
    for (int i = 0; i < kWidth; ++i) root[i] = 1.f / std::sqrt(x.piece[k][i]);
    return root;
  });
}
// x where it is above 0, or no number, else 0.
inline Lanes Relu(Lanes x) {
  return Each([&](int k) { return Piece{} > x.piece[k] ? Piece{} : x.piece[k]; });
}
// y where x is above 0, else 0.
inline Lanes WhereAbove0(Lanes x, Lanes y) {
  return Each([&](int k) { return x.piece[k] > Piece{} ? y.piece[k] : Piece{}; });
}

// Of a cache line that begins at `from` or `to`.
inline Lanes LoadAligned(const float* from) {
  return Each([=](int k) { return *reinterpret_cast<const Piece*>(from + k * kWidth); });
}
inline void StoreAligned(float* to, Lanes values) {
  for (int k = 0; k < kPieces; ++k)
    *reinterpret_cast<Piece*>(to + k * kWidth) = values.piece[k];
}
// From anywhere.
inline Lanes LoadLanes(const float* from) {
  return Each([=](int k) {
    Piece piece;
    std::memcpy(&piece, from + k * kWidth, sizeof(piece));
    return piece;
  });
}
inline void StoreLanes(float* to, Lanes values) {
  for (int k = 0; k < kPieces; ++k)
    std::memcpy(to + k * kWidth, &values.piece[k], sizeof(Piece));
}

// The lowest `lanes` of 16, of what is left of some channels.
inline int Left(int64_t channels) {
  return channels >= kLanes ? kLanes : channels <= 0 ? 0 : static_cast<int>(channels);
}

#if defined(__AVX512F__)
inline __mmask16 Mask(int lanes) { return static_cast<__mmask16>((1u << lanes) - 1); }
#elif defined(__AVX2__)
// −1 in the lowest `lanes` of a piece.
inline __m256i Mask(int lanes) {
  alignas(32) static const int32_t kFrom[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
  const int left = lanes < 0 ? 0 : lanes > 8 ? 8 : lanes;
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kFrom + 8 - left));
}
#endif

// The lowest `lanes`; the others are 0 and not read.
inline Lanes LoadLanes(const float* from, int lanes) {
  if (lanes == kLanes) return LoadLanes(from);
#if defined(__AVX512F__)
  return {{(Piece)_mm512_maskz_loadu_ps(Mask(lanes), from)}};
#elif defined(__AVX2__)
  return Each([=](int k) {
    return (Piece)_mm256_maskload_ps(from + k * kWidth, Mask(lanes - k * kWidth));
  });
#else
  float held[kLanes] = {};
  std::memcpy(held, from, lanes * sizeof(float));
  return LoadLanes(held);
#endif
}
// The lowest `lanes`; what lies behind is not written.
inline void StoreLanes(float* to, Lanes values, int lanes) {
  if (lanes == kLanes) return StoreLanes(to, values);
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(to, Mask(lanes), (__m512)values.piece[0]);
#elif defined(__AVX2__)
  for (int k = 0; k < kPieces; ++k)
    _mm256_maskstore_ps(to + k * kWidth, Mask(lanes - k * kWidth), (__m256)values.piece[k]);
#else
  float held[kLanes];
  StoreLanes(held, values);
  std::memcpy(to, held, lanes * sizeof(float));
#endif
}

// 16 sums in float64.
struct Wide {
  static constexpr int kHalf = kWidth / 2, kHalves = 2 * kPieces;
  Vector<double, kHalf> half[kHalves] = {};

  void Add(Lanes x, double times = 1) {
    for (int h = 0; h < kHalves; ++h)
      for (int i = 0; i < kHalf; ++i)
        half[h][i] = __builtin_fma(double{x.piece[h / 2][h % 2 * kHalf + i]}, times, half[h][i]);
  }
  Lanes Times(double factor) const {
    Lanes result;
    for (int h = 0; h < kHalves; ++h)
      for (int i = 0; i < kHalf; ++i)
        result.piece[h / 2][h % 2 * kHalf + i] = static_cast<float>(half[h][i] * factor);
    return result;
  }
};

}  // namespace tfsc

#endif  // TFSC_NATIVE_LANES_H_
