// The transforms of Winograd's F(4, 3) along one axis, on 16 channels at a time.
//
// Four outputs of three filter taps are Aᵀ((G·g) ⊙ (Bᵀ·d)), d six inputs (Lavin & Gray 2015,
// arXiv:1509.09308). The matrices follow from six points p by Cook's and Toom's formula: Aᵀ has
// columns (1, p, p², p³), G rows (1, p, p²)/f(p) with f(p) = ∏(p − q) over the other finite points q,
// Bᵀ the coefficients of ∏(x − q). The points here are 0, ±5/8, ±3/2 and ∞: they round half as
// coarsely as the usual 0, ±1, ±2, ∞.
//
// `stride`, `from` and `to` are distances between elements.

#ifndef TFSC_NATIVE_TRANSFORMS_H_
#define TFSC_NATIVE_TRANSFORMS_H_

#include "lanes.h"

namespace tfsc {

constexpr int kOut = 4;   // outputs of a tile along one axis
constexpr int kTile = 6;  // inputs, and points
constexpr int kPoints = kTile * kTile;

constexpr float kA = 0.625f, kB = 1.5f;
constexpr float kA2 = kA * kA, kB2 = kB * kB;
constexpr float kG0 = 1.f / (kA2 * kB2);                // 1/f(0)
constexpr float kGa = 1.f / (2 * kA2 * (kA2 - kB2));    // 1/f(±a)
constexpr float kGb = 1.f / (2 * kB2 * (kB2 - kA2));    // 1/f(±b)

// Bᵀ·d. d and v may be the same.
template <int stride>
inline void InputTransform(const Lanes* d, Lanes* v) {
  const Lanes d0 = d[0], d1 = d[stride], d2 = d[2 * stride], d3 = d[3 * stride],
              d4 = d[4 * stride], d5 = d[5 * stride];
  const Lanes even_a = Fma(-kB2, d2, d4), odd_a = Mul(kA, Fma(-kB2, d1, d3));
  const Lanes even_b = Fma(-kA2, d2, d4), odd_b = Mul(kB, Fma(-kA2, d1, d3));
  v[0] = Fma(kA2 * kB2, d0, Fma(-(kA2 + kB2), d2, d4));
  v[stride] = Add(even_a, odd_a);
  v[2 * stride] = Sub(even_a, odd_a);
  v[3 * stride] = Add(even_b, odd_b);
  v[4 * stride] = Sub(even_b, odd_b);
  v[5 * stride] = Fma(kA2 * kB2, d1, Fma(-(kA2 + kB2), d3, d5));
}

// Aᵀ·m: points to outputs.
inline void OutputTransform(const Lanes* m, Lanes* y) {
  const Lanes sum_a = Add(m[1], m[2]), diff_a = Sub(m[1], m[2]);
  const Lanes sum_b = Add(m[3], m[4]), diff_b = Sub(m[3], m[4]);
  y[0] = Add(m[0], Add(sum_a, sum_b));
  y[1] = Fma(kA, diff_a, Mul(kB, diff_b));
  y[2] = Fma(kA2, sum_a, Mul(kB2, sum_b));
  y[3] = Fma(kA * kA2, diff_a, Fma(kB * kB2, diff_b, m[5]));
}

// A·y, its transpose: gradients of outputs to those of points.
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

// G·g: taps to points.
template <int from, int to>
inline void FilterTransform(const Lanes* g, Lanes* u) {
  const Lanes g0 = g[0], g1 = g[from], g2 = g[2 * from];
  const Lanes even_a = Mul(kGa, Fma(kA2, g2, g0)), odd_a = Mul(kGa * kA, g1);
  const Lanes even_b = Mul(kGb, Fma(kB2, g2, g0)), odd_b = Mul(kGb * kB, g1);
  u[0] = Mul(kG0, g0);
  u[to] = Add(even_a, odd_a);
  u[2 * to] = Sub(even_a, odd_a);
  u[3 * to] = Add(even_b, odd_b);
  u[4 * to] = Sub(even_b, odd_b);
  u[5 * to] = g2;
}

// Gᵀ·u, its transpose.
template <int stride>
inline void FilterGradient(const Lanes* u, Lanes* g) {
  const Lanes sum_a = Add(u[stride], u[2 * stride]), diff_a = Sub(u[stride], u[2 * stride]);
  const Lanes sum_b = Add(u[3 * stride], u[4 * stride]),
              diff_b = Sub(u[3 * stride], u[4 * stride]);
  g[0] = Fma(kG0, u[0], Fma(kGa, sum_a, Mul(kGb, sum_b)));
  g[stride] = Fma(kGa * kA, diff_a, Mul(kGb * kB, diff_b));
  g[2 * stride] = Fma(kGa * kA2, sum_a, Fma(kGb * kB2, sum_b, u[5 * stride]));
}

}  // namespace tfsc

#endif  // TFSC_NATIVE_TRANSFORMS_H_
