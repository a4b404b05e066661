// BatchNormalization in training with ReLU behind it, and its gradients, as TensorFlow operations for
// CPUs.
//
//   z = γ·(x − mean)/√(variance + ε) + β,   y = max(z, 0)
//
// x, y [n, h, w, channels] of one type, all else float32 [channels]. Forward the maps are read twice
// and written once; backward both maps are read twice, and z is computed anew. The variance is the
// biased one, from squares of differences from the mean of a block of pixels.
// Blocks depend on shapes alone and are summed in their order: bits do not depend on threads.

#include <algorithm>
#include <cmath>

#include "numbers.h"
#include "operation.h"
#include "scratch.h"

namespace tfsc {
namespace {

constexpr int kMost = kPieces == 1 ? 4 : 2;  // Lanes of channels that are worked on at a time

// Maps as pixels of some channels, in blocks of pixels that fit the first-level cache twice over, or
// of 8 pixels.
struct Maps {
  int64_t pixels, channels, padded, block, blocks;

  Maps(const Tensor& x, int64_t value_bytes)
      : channels(x.dim(3)), padded(RoundUp(channels, kLanes)) {
    pixels = channels == 0 ? 0 : x.size() / channels;
    block = std::max<int64_t>(12'288 / (value_bytes * std::max<int64_t>(channels, 1)), 8);
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
  const int64_t rest = channels - c;
  if (rest == 0) return;
  const int lanes = Left(rest - (rest - 1) / kLanes * kLanes);
  const bool whole = rest % kLanes == 0;
  switch ((rest + kLanes - 1) / kLanes) {
    case 1:
      whole ? function.template operator()<1, true>(c, lanes)
            : function.template operator()<1, false>(c, lanes);
      break;
    case 2:
      whole ? function.template operator()<2, true>(c, lanes)
            : function.template operator()<2, false>(c, lanes);
      break;
    case 3:
      if constexpr (kMost == 4) {
        whole ? function.template operator()<3, true>(c, lanes)
              : function.template operator()<3, false>(c, lanes);
      }
      break;
    case 4:
      if constexpr (kMost == 4) function.template operator()<4, false>(c, lanes);
  }
}

// One pixel's values of up to 64 channels.
template <typename Number, int registers, bool whole>
struct Pixel {
  Lanes v[registers];

  Pixel() = default;
  Pixel(const typename Number::Value* from, int lanes) {
    for (int r = 0; r < registers; ++r)
      v[r] = whole || r + 1 < registers ? Number::Load(from + r * kLanes)
                                        : Number::Load(from + r * kLanes, lanes);
  }
  void Store(typename Number::Value* to, int lanes) const {
    for (int r = 0; r < registers; ++r)
      Number::Store(to + r * kLanes, whole || r + 1 < registers ? kLanes : lanes, v[r]);
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

// Parameters of 16 channels, from which z = (x − mean)·scale + β.
struct Line {
  Lanes mean, inverse, scale, beta;

  Line(const float* mean_, const float* variance, const float* gamma, const float* beta_,
       float epsilon, int64_t channel, int lanes) {
    mean = LoadLanes(mean_ + channel, lanes);
    // Of lanes that are not there nothing is stored, whatever it is.
    inverse = InverseRoot(Add(LoadLanes(variance + channel, lanes), Set(epsilon)));
    scale = Mul(inverse, LoadLanes(gamma + channel, lanes));
    beta = LoadLanes(beta_ + channel, lanes);
  }
};

template <typename Number>
class NormRelu {
 public:
  using Value = typename Number::Value;

  explicit NormRelu(Construction& construction) : epsilon_(construction.number("epsilon")) {}

  void Compute(Call& call) const {
    const Tensor x = call.input(0), gamma = call.input(1), beta = call.input(2);
    if (!call.Requires(x.rank() == 4 && gamma.Is({x.dim(3)}) && beta.Is({x.dim(3)}),
                       "must be x [n, h, w, channels], gamma and beta [channels]. Received: ",
                       x.shape(), ", ", gamma.shape(), " and ", beta.shape()))
      return;
    const Maps maps(x, sizeof(Value));
    auto* to = call.output_like<Value>(0, x);
    auto *m = call.output<float>(1, {maps.channels}), *s = call.output<float>(2, {maps.channels});
    if (to == nullptr || m == nullptr || s == nullptr) return;
    if (maps.pixels == 0) {
      std::fill_n(m, maps.channels, NAN);  // as FusedBatchNorm
      std::fill_n(s, maps.channels, NAN);
      return;
    }
    const auto* from = x.data<Value>();
    Scratch scratch(Scratch::Bytes<float>(2 * maps.blocks * maps.padded));
    float* blocks = scratch.Take<float>(2 * maps.blocks * maps.padded);
    const int64_t cycles = maps.block * maps.padded / kLanes * 4;
    Parallel(maps.blocks, 2 * cycles, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) Moments(from, maps, b, blocks + 2 * b * maps.padded);
    });
    Join(blocks, maps, m, s);
    const float *g = gamma.data<float>(), *o = beta.data<float>();
    Parallel(maps.blocks, cycles, [&](int64_t begin, int64_t end) {
      const int64_t first = maps.first(begin), last = maps.last(end - 1);
      ForChannels(maps.channels, [&]<int registers, bool whole>(int64_t c, int lanes) {
        Apply<registers, whole>(from, maps, first, last, c, lanes, m, s, g, o, to);
      });
    });
  }

 private:
  // Of a block of pixels: means, then sums of squares of the differences from them.
  static void Moments(const Value* x, const Maps& maps, int64_t b, float* to) {
    const int64_t first = maps.first(b), last = maps.last(b);
    ForChannels(maps.channels, [&]<int registers, bool whole>(int64_t c, int lanes) {
      const Value* from = x + c;
      const Sums<registers, 1> sums(first, last, [=](int64_t pixel, auto& sum) {
        const Pixel<Number, registers, whole> value(from + pixel * maps.channels, lanes);
        for (int r = 0; r < registers; ++r) sum[0][r] = Add(sum[0][r], value.v[r]);
      });
      Lanes mean[registers];
      const Lanes share = Set(1.f / (last - first));
      for (int r = 0; r < registers; ++r) mean[r] = Mul(sums.at(0, r), share);
      const Sums<registers, 1> squares(first, last, [&](int64_t pixel, auto& sum) {
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

  // Mean and biased variance of all pixels (Chan, Golub & LeVeque 1979).
  static void Join(const float* blocks, const Maps& maps, float* mean, float* variance) {
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
      Float32::Store(mean + c, Left(maps.channels - c), all);
      Float32::Store(variance + c, Left(maps.channels - c), squares.Times(share));
    }
  }

  template <int registers, bool whole>
  void Apply(const Value* x, const Maps& maps, int64_t first, int64_t last, int64_t c,
             int lanes, const float* mean, const float* variance, const float* gamma,
             const float* beta, Value* y) const {
    Lanes m[registers], scale[registers], offset[registers];
    for (int r = 0; r < registers; ++r) {
      const Line line(mean, variance, gamma, beta, epsilon_, c + r * kLanes,
                      whole || r + 1 < registers ? kLanes : lanes);
      m[r] = line.mean, scale[r] = line.scale, offset[r] = line.beta;
    }
    for (int64_t pixel = first; pixel < last; ++pixel) {
      const int64_t at = pixel * maps.channels + c;
      Pixel<Number, registers, whole> value(x + at, lanes);
      for (int r = 0; r < registers; ++r) {
        const Lanes z = Fma(Sub(value.v[r], m[r]), scale[r], offset[r]);
        value.v[r] = Relu(z);
      }
      value.Store(y + at, lanes);
    }
  }

  float epsilon_;
};

// With dz = dy where z > 0, else 0, and sums over the N pixels:
//   dβ = Σdz,  dγ = Σdz·(x − mean)/σ,  dx = γ/σ·(dz − dβ/N − (x − mean)·Σdz·(x − mean)/(N·σ²))
template <typename Number>
class NormReluGradient {
 public:
  using Value = typename Number::Value;

  explicit NormReluGradient(Construction& construction)
      : epsilon_(construction.number("epsilon")) {}

  void Compute(Call& call) const {
    const Tensor dy = call.input(0), x = call.input(1);
    if (!call.Requires(x.rank() == 4 && dy.IsLike(x),
                       "must be dy and x [n, h, w, channels]. Received: ", dy.shape(), " and ",
                       x.shape()))
      return;
    const float* of_channels[4];  // gamma, beta, mean, variance
    for (int k = 0; k < 4; ++k) {
      const Tensor input = call.input(2 + k);
      if (!call.Requires(input.Is({x.dim(3)}),
                         "must be gamma, beta, mean and variance [channels]. Received: ",
                         input.shape(), " for ", std::to_string(x.dim(3)), " channels"))
        return;
      of_channels[k] = input.data<float>();
    }
    const auto [gamma, beta, mean, variance] = of_channels;
    const Maps maps(x, sizeof(Value));
    auto* to = call.output_like<Value>(0, x);
    auto *dg = call.output<float>(1, {maps.channels}), *db = call.output<float>(2, {maps.channels});
    if (to == nullptr || dg == nullptr || db == nullptr) return;
    if (maps.pixels == 0) {
      std::fill_n(dg, maps.channels, 0.f);
      std::fill_n(db, maps.channels, 0.f);
      return;
    }
    const auto *upstream = dy.data<Value>(), *from = x.data<Value>();
    Scratch scratch(Scratch::Bytes<float>((2 * maps.blocks + 4) * maps.padded));
    float* blocks = scratch.Take<float>((2 * maps.blocks + 4) * maps.padded);
    Lines lines{blocks + 2 * maps.blocks * maps.padded, maps.padded};
    for (int64_t c = 0; c < maps.channels; c += kLanes)
      lines.Put(c, Line(mean, variance, gamma, beta, epsilon_, c, Left(maps.channels - c)));
    const int64_t cycles = maps.block * maps.padded / kLanes * 6;
    Parallel(maps.blocks, cycles, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b)
        SumBlock(upstream, from, maps, b, lines, blocks + 2 * b * maps.padded);
    });
    const double share = 1. / maps.pixels;
    for (int64_t c = 0; c < maps.channels; c += kLanes) {
      Wide sum, product;
      for (int64_t b = 0; b < maps.blocks; ++b) {
        sum.Add(LoadAligned(blocks + 2 * b * maps.padded + c));
        product.Add(LoadAligned(blocks + (2 * b + 1) * maps.padded + c));
      }
      const int lanes = Left(maps.channels - c);
      const Line line(mean, variance, gamma, beta, epsilon_, c, lanes);
      Float32::Store(db + c, lanes, sum.Times(1));
      Float32::Store(dg + c, lanes, Mul(product.Times(1), line.inverse));
      // dx = scale·(dz − share) + (x − mean)·slope
      const Lanes falls = Mul(Mul(line.inverse, line.inverse), line.scale);
      const Lanes slope = Mul(product.Times(-share), falls);
      StoreAligned(blocks + c, slope);  // the first block has been read
      StoreAligned(blocks + maps.padded + c, sum.Times(share));
    }
    Parallel(maps.blocks, cycles, [&](int64_t begin, int64_t end) {
      const int64_t first = maps.first(begin), last = maps.last(end - 1);
      ForChannels(maps.channels, [&]<int registers, bool whole>(int64_t c, int lanes) {
        Apply<registers, whole>(upstream, from, maps, first, last, c, lanes, lines, blocks + c,
                                to);
      });
    });
  }

 private:
  // Mean, scale and β of all channels.
  struct Lines {
    float* values;
    int64_t padded;

    void Put(int64_t c, const Line& line) const {
      StoreAligned(values + c, line.mean);
      StoreAligned(values + padded + c, line.scale);
      StoreAligned(values + 2 * padded + c, line.beta);
    }
  };

  template <int registers>
  struct Channels {
    Lanes mean[registers], scale[registers], beta[registers];

    Channels(const Lines& lines, int64_t c) {
      for (int r = 0; r < registers; ++r) {
        mean[r] = LoadAligned(lines.values + c + r * kLanes);
        scale[r] = LoadAligned(lines.values + lines.padded + c + r * kLanes);
        beta[r] = LoadAligned(lines.values + 2 * lines.padded + c + r * kLanes);
      }
    }
    // dz, given x − mean.
    Lanes Upstream(int r, Lanes centred, Lanes dy) const {
      const Lanes z = Fma(centred, scale[r], beta[r]);
      return WhereAbove0(z, dy);  // as ReluGrad
    }
  };

  static void SumBlock(const Value* dy, const Value* x, const Maps& maps, int64_t b,
                       const Lines& lines, float* to) {
    ForChannels(maps.channels, [&]<int registers, bool whole>(int64_t c, int lanes) {
      const Channels<registers> channels(lines, c);
      const Sums<registers, 2> sums(maps.first(b), maps.last(b), [&](int64_t pixel, auto& sum) {
        const int64_t at = pixel * maps.channels + c;
        const Pixel<Number, registers, whole> value(x + at, lanes), upstream(dy + at, lanes);
        for (int r = 0; r < registers; ++r) {
          const Lanes centred = Sub(value.v[r], channels.mean[r]);
          const Lanes dz = channels.Upstream(r, centred, upstream.v[r]);
          sum[0][r] = Add(sum[0][r], dz);
          sum[1][r] = Fma(dz, centred, sum[1][r]);
        }
      });
      for (int r = 0; r < registers; ++r) {
        StoreAligned(to + c + r * kLanes, sums.at(0, r));
        StoreAligned(to + maps.padded + c + r * kLanes, sums.at(1, r));
      }
    });
  }

  template <int registers, bool whole>
  static void Apply(const Value* dy, const Value* x, const Maps& maps, int64_t first, int64_t last,
                    int64_t c, int lanes, const Lines& lines, const float* slopes,
                    Value* dx) {
    const Channels<registers> channels(lines, c);
    Lanes slope[registers], share[registers];
    for (int r = 0; r < registers; ++r) {
      slope[r] = LoadAligned(slopes + r * kLanes);
      share[r] = LoadAligned(slopes + maps.padded + r * kLanes);
    }
    for (int64_t pixel = first; pixel < last; ++pixel) {
      const int64_t at = pixel * maps.channels + c;
      Pixel<Number, registers, whole> value(x + at, lanes), upstream(dy + at, lanes);
      for (int r = 0; r < registers; ++r) {
        const Lanes centred = Sub(value.v[r], channels.mean[r]);
        const Lanes dz = channels.Upstream(r, centred, upstream.v[r]);
        value.v[r] = Fma(Sub(dz, share[r]), channels.scale[r],
                                     Mul(centred, slope[r]));
      }
      value.Store(dx + at, lanes);
    }
  }

  float epsilon_;
};

const bool kRegistered =
    RegisterOperation("TfscNormRelu", {"x: T", "gamma: float", "beta: float"},
                      {"y: T", "mean: float", "variance: float"},
                      {"T: {bfloat16, float}", "epsilon: float"},
                      [](Shapes& shapes) {
                        shapes.Like(0, 0, 4);
                        for (int output : {1, 2}) shapes.Vector(output, 0, 4, 3);
                      }) &&
    RegisterKernels<NormRelu>("TfscNormRelu") &&
    RegisterOperation("TfscNormReluGradient",
                      {"dy: T", "x: T", "gamma: float", "beta: float", "mean: float",
                       "variance: float"},
                      {"dx: T", "dgamma: float", "dbeta: float"},
                      {"T: {bfloat16, float}", "epsilon: float"},
                      [](Shapes& shapes) {
                        shapes.Like(0, 1, 4);
                        for (int output : {1, 2}) shapes.Vector(output, 1, 4, 3);
                      }) &&
    RegisterKernels<NormReluGradient>("TfscNormReluGradient");

}  // namespace
}  // namespace tfsc
