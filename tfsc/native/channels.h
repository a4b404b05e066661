// Maps as pixels of some channels, and passes over them in blocks of pixels: what normalisation and
// products of maps share.
//
// Blocks depend on shapes alone and are summed in their order: bits do not depend on threads.

#ifndef TFSC_NATIVE_CHANNELS_H_
#define TFSC_NATIVE_CHANNELS_H_

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "numbers.h"
#include "scratch.h"

namespace tfsc {

constexpr int kMost = kPieces == 1 ? 4 : 2;  // Lanes of channels that are worked on at a time

// Pixels in blocks.
struct Maps {
  int64_t pixels, channels, padded, block, blocks;

  // Of `block_` pixels each; by default of so many that fit the first-level cache twice over, or 8.
  Maps(int64_t pixels_, int64_t channels_, int64_t value_bytes, int64_t block_ = 0)
      : pixels(pixels_), channels(channels_), padded(RoundUp(channels, kLanes)) {
    const int64_t fit = 12'288 / (value_bytes * std::max<int64_t>(channels, 1));
    block = block_ ? block_ : std::max<int64_t>(fit, 8);
    blocks = (pixels + block - 1) / block;
  }
  int64_t first(int64_t b) const { return b * block; }
  int64_t last(int64_t b) const { return std::min(pixels, (b + 1) * block); }
};

// Calls function<registers, whole>(first channel, lanes of the last register) for all channels.
// `whole`: all lanes of all registers exist.
template <typename Function>
inline void ForChannels(int64_t channels, const Function& function) {
  constexpr int kStep = kMost * kLanes;
  int64_t c = 0;
  for (; c + kStep <= channels; c += kStep) function.template operator()<kMost, true>(c, kLanes);
  for (; c + kLanes <= channels; c += kLanes) function.template operator()<1, true>(c, kLanes);
  if (c < channels) function.template operator()<1, false>(c, Left(channels - c));
}

// One pixel's values of up to 64 channels.
template <typename Number, int registers, bool whole>
struct Pixel {
  Lanes v[registers];

  Pixel() = default;
  Pixel(const typename Number::Value* from, int lanes) {
    for (int r = 0; r < registers; ++r)
      v[r] = whole ? Number::Load(from + r * kLanes) : Number::Load(from + r * kLanes, lanes);
  }
  void Store(typename Number::Value* to, int lanes) const {
    for (int r = 0; r < registers; ++r)
      Number::Store(to + r * kLanes, whole ? kLanes : lanes, v[r]);
  }
  // Also what stands for channels that do not exist.
  void StoreAll(typename Number::Value* to) const {
    for (int r = 0; r < registers; ++r) Number::Store(to + r * kLanes, kLanes, v[r]);
  }
};

// Sums function(pixel, sums) over pixels, `quantities` sums for each channel, in several chains.
template <int registers, int quantities>
struct Sums {
  static constexpr int kChains = registers * quantities >= 4 ? 2 : 4;
  Lanes v[kChains][quantities][registers];

  template <typename Function>
  Sums(int64_t first, int64_t last, const Function& function) {
    for (auto& chain : v)
      for (auto& quantity : chain)
        for (auto& sum : quantity) sum = Zero();
    int64_t pixel = first;
    for (; pixel + kChains <= last; pixel += kChains)
      for (int k = 0; k < kChains; ++k) function(pixel + k, v[k]);
    for (; pixel < last; ++pixel) function(pixel, v[0]);
    for (int k = 1; k < kChains; ++k)
      for (int q = 0; q < quantities; ++q)
        for (int r = 0; r < registers; ++r) v[0][q][r] = Add(v[0][q][r], v[k][q][r]);
  }
  Lanes at(int quantity, int r) const { return v[0][quantity][r]; }
};

// What normalises channels: z = (x − mean)·scale + β with scale = γ/√(variance + ε), behind it ReLU.
// Of channels that do not exist all is 0.
class Lines {
 public:
  static int64_t Bytes(int64_t channels) {
    return Scratch::Bytes<float>(4 * RoundUp(channels, kLanes));
  }

  Lines(float* memory, int64_t channels, const float* gamma, const float* beta, const float* mean,
        const float* variance, float epsilon)
      : values_(memory), padded_(RoundUp(channels, kLanes)) {
    for (int64_t c = 0; c < channels; c += kLanes) {
      const int lanes = Left(channels - c);
      const Lanes root = InverseRoot(Add(LoadLanes(variance + c, lanes), Set(epsilon)));
      StoreAligned(values_ + c, LoadLanes(mean + c, lanes));
      StoreAligned(values_ + padded_ + c, Mul(root, LoadLanes(gamma + c, lanes)));
      StoreAligned(values_ + 2 * padded_ + c, LoadLanes(beta + c, lanes));
      StoreAligned(values_ + 3 * padded_ + c, root);
    }
  }
  Lanes mean(int64_t c) const { return LoadAligned(values_ + c); }
  Lanes scale(int64_t c) const { return LoadAligned(values_ + padded_ + c); }
  Lanes beta(int64_t c) const { return LoadAligned(values_ + 2 * padded_ + c); }
  Lanes inverse(int64_t c) const { return LoadAligned(values_ + 3 * padded_ + c); }

 private:
  float* values_;
  int64_t padded_;
};

// The same of some channels, in registers.
template <int registers>
struct Norm {
  Lanes mean[registers], scale[registers], beta[registers];

  Norm(const Lines& lines, int64_t c) {
    for (int r = 0; r < registers; ++r) {
      mean[r] = lines.mean(c + r * kLanes);
      scale[r] = lines.scale(c + r * kLanes);
      beta[r] = lines.beta(c + r * kLanes);
    }
  }
  Lanes Output(int r, Lanes x) const {
    return Relu(Fma(Sub(x, mean[r]), scale[r], beta[r]));
  }
  // dz, given x − mean and dy, as ReluGrad.
  Lanes Upstream(int r, Lanes centred, Lanes dy) const {
    return WhereAbove0(Fma(centred, scale[r], beta[r]), dy);
  }
};

// Of block b of pixels, which begins at x: means, then sums of squares of the differences from them.
template <typename Number>
void Moments(const typename Number::Value* x, const Maps& maps, int64_t b, float* to) {
  const int64_t count = maps.last(b) - maps.first(b);
  ForChannels(maps.channels, [&]<int registers, bool whole>(int64_t c, int lanes) {
    const auto* from = x + c;
    const Sums<registers, 1> sums(0, count, [=](int64_t pixel, auto& sum) {
      const Pixel<Number, registers, whole> value(from + pixel * maps.channels, lanes);
      for (int r = 0; r < registers; ++r) sum[0][r] = Add(sum[0][r], value.v[r]);
    });
    Lanes mean[registers];
    const Lanes share = Set(1.f / count);
    for (int r = 0; r < registers; ++r) mean[r] = Mul(sums.at(0, r), share);
    const Sums<registers, 1> squares(0, count, [&](int64_t pixel, auto& sum) {
      const Pixel<Number, registers, whole> value(from + pixel * maps.channels, lanes);
      for (int r = 0; r < registers; ++r) {
        const Lanes centred = Sub(value.v[r], mean[r]);
        sum[0][r] = Fma(centred, centred, sum[0][r]);
      }
    });
    for (int r = 0; r < registers; ++r) {
      StoreAligned(to + c + r * kLanes, mean[r]);
      StoreAligned(to + maps.padded + c + r * kLanes, squares.at(0, r));
    }
  });
}

// Mean and biased variance of all pixels from those of the blocks (Chan, Golub & LeVeque 1979).
inline void Join(const float* blocks, const Maps& maps, float* mean, float* variance) {
  for (int64_t c = 0; c < maps.channels; c += kLanes) {
    Wide sum, squares;
    for (int64_t b = 0; b < maps.blocks; ++b)
      sum.Add(LoadAligned(blocks + 2 * b * maps.padded + c), maps.last(b) - maps.first(b));
    const double share = 1. / maps.pixels;
    const Lanes all = sum.Times(share);
    for (int64_t b = 0; b < maps.blocks; ++b) {
      const float* block = blocks + 2 * b * maps.padded + c;
      const Lanes apart = Sub(LoadAligned(block), all);
      squares.Add(LoadAligned(block + maps.padded));
      squares.Add(Mul(apart, apart), maps.last(b) - maps.first(b));
    }
    StoreLanes(mean + c, all, Left(maps.channels - c));
    StoreLanes(variance + c, squares.Times(share), Left(maps.channels - c));
  }
}

// The gradient of normalised maps, in two passes: sums over all pixels of
//   dz = dy where z > 0, else 0, and dz·(x − mean), from which
//   dβ = Σdz,  dγ = Σdz·(x − mean)/σ,  dx = γ/σ·(dz − dβ/N − (x − mean)·Σdz·(x − mean)/(N·σ²))
// dx with constant mean and variance is γ/σ·dz.
class NormGradient {
 public:
  static int64_t Bytes(int64_t channels) {
    return Scratch::Bytes<float>(2 * RoundUp(channels, kLanes));
  }

  // `sums`: for each of `blocks` Σdz of all (padded) channels, then Σdz·(x − mean).
  NormGradient(float* memory, const Lines& lines, int64_t channels, int64_t pixels,
               const float* sums, int64_t blocks, bool of_batch, float* dgamma, float* dbeta)
      : values_(memory), padded_(RoundUp(channels, kLanes)) {
    const double share = of_batch ? 1. / pixels : 0.;
    for (int64_t c = 0; c < channels; c += kLanes) {
      Wide sum, product;
      for (int64_t b = 0; b < blocks; ++b) {
        sum.Add(LoadAligned(sums + 2 * b * padded_ + c));
        product.Add(LoadAligned(sums + (2 * b + 1) * padded_ + c));
      }
      const int lanes = Left(channels - c);
      const Lanes inverse = lines.inverse(c);
      StoreLanes(dbeta + c, sum.Times(1), lanes);
      StoreLanes(dgamma + c, Mul(product.Times(1), inverse), lanes);
      // dx = scale·(dz − share) + (x − mean)·slope
      StoreAligned(values_ + c, Mul(product.Times(-share), Mul(Mul(inverse, inverse), lines.scale(c))));
      StoreAligned(values_ + padded_ + c, sum.Times(share));
    }
  }
  Lanes slope(int64_t c) const { return LoadAligned(values_ + c); }
  Lanes share(int64_t c) const { return LoadAligned(values_ + padded_ + c); }

 private:
  float* values_;
  int64_t padded_;
};

}  // namespace tfsc

#endif  // TFSC_NATIVE_CHANNELS_H_
