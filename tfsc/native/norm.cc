// BatchNormalization in training with ReLU behind it, and its gradients, as TensorFlow operations for
// CPUs.
//
//   z = γ·(x − mean)/√(variance + ε) + β,   y = max(z, 0)
//
// x, y [n, h, w, channels] of one type, all else float32 [channels]. Forward the maps are read twice
// and written once; backward both maps are read twice, and z is computed anew. The variance is the
// biased one, from squares of differences from the mean of a block of pixels.

#include <algorithm>
#include <cmath>

#include "channels.h"
#include "operation.h"

namespace tfsc {
namespace {

// Mean and variance of maps.
template <typename Number>
class MapMoments {
 public:
  explicit MapMoments(Construction&) {}

  void Compute(Call& call) const {
    const Tensor x = call.input(0);
    if (!call.Requires(x.rank() == 4, "must be x [n, h, w, channels]. Received: ", x.shape()))
      return;
    const int64_t channels = x.dim(3);
    auto *mean = call.output<float>(0, {channels}), *variance = call.output<float>(1, {channels});
    if (mean == nullptr || variance == nullptr) return;
    if (x.size() == 0) {
      std::fill_n(mean, channels, NAN);  // as FusedBatchNorm
      std::fill_n(variance, channels, NAN);
      return;
    }
    const Maps maps(x.size() / channels, channels, sizeof(typename Number::Value));
    const auto* from = x.data<typename Number::Value>();
    Scratch scratch(Scratch::Bytes<float>(2 * maps.blocks * maps.padded));
    float* blocks = scratch.Take<float>(2 * maps.blocks * maps.padded);
    Parallel(maps.blocks, maps.block * maps.padded / kLanes * 8, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b)
        Moments<Number>(from + maps.first(b) * channels, maps, b, blocks + 2 * b * maps.padded);
    });
    Join(blocks, maps, mean, variance);
  }
};

template <typename Number>
class NormRelu {
 public:
  using Value = typename Number::Value;

  explicit NormRelu(Construction& construction) : epsilon_(construction.number("epsilon")) {}

  void Compute(Call& call) const {
    const Tensor x = call.input(0), gamma = call.input(1), beta = call.input(2),
                 mean = call.input(3), variance = call.input(4);
    const int64_t channels = x.rank() == 4 ? x.dim(3) : -1;
    if (!call.Requires(gamma.Is({channels}) && beta.Is({channels}) && mean.Is({channels}) &&
                           variance.Is({channels}),
                       "must be x [n, h, w, channels], gamma, beta, mean and variance [channels]. "
                       "Received: ", x.shape(), ", ", gamma.shape(), ", ", beta.shape(), ", ",
                       mean.shape(), " and ", variance.shape()))
      return;
    auto* to = call.output_like<Value>(0, x);
    if (to == nullptr || x.size() == 0) return;
    const Maps maps(x.size() / channels, channels, sizeof(Value));
    const auto* from = x.data<Value>();
    Scratch scratch(Lines::Bytes(channels));
    const Lines lines(scratch.Take<float>(4 * maps.padded), channels, gamma.data<float>(),
                      beta.data<float>(), mean.data<float>(), variance.data<float>(), epsilon_);
    Parallel(maps.blocks, maps.block * maps.padded / kLanes * 4, [&](int64_t begin, int64_t end) {
      const int64_t first = maps.first(begin), last = maps.last(end - 1);
      ForChannels(channels, [&]<int registers, bool whole>(int64_t c, int lanes) {
        const Norm<registers> norm(lines, c);
        for (int64_t pixel = first; pixel < last; ++pixel) {
          Pixel<Number, registers, whole> value(from + pixel * channels + c, lanes);
          for (int r = 0; r < registers; ++r) value.v[r] = norm.Output(r, value.v[r]);
          value.Store(to + pixel * channels + c, lanes);
        }
      });
    });
  }

 private:
  float epsilon_;
};

// `of_batch`: as if mean and variance were made of x.
template <typename Number>
class NormReluGradient {
 public:
  using Value = typename Number::Value;

  explicit NormReluGradient(Construction& construction)
      : epsilon_(construction.number("epsilon")), of_batch_(construction.flag("of_batch")) {}

  void Compute(Call& call) const {
    const Tensor dy = call.input(0), x = call.input(1), gamma = call.input(2),
                 beta = call.input(3), mean = call.input(4), variance = call.input(5);
    const int64_t channels = x.rank() == 4 ? x.dim(3) : -1;
    if (!call.Requires(x.rank() == 4 && dy.IsLike(x) && gamma.Is({channels}) &&
                           beta.Is({channels}) && mean.Is({channels}) && variance.Is({channels}),
                       "must be dy and x [n, h, w, channels], gamma, beta, mean and variance "
                       "[channels]. Received: ", dy.shape(), ", ", x.shape(), ", ", gamma.shape(),
                       ", ", beta.shape(), ", ", mean.shape(), " and ", variance.shape()))
      return;
    auto* to = call.output_like<Value>(0, x);
    auto *dgamma = call.output<float>(1, {channels}), *dbeta = call.output<float>(2, {channels});
    if (to == nullptr || dgamma == nullptr || dbeta == nullptr) return;
    if (x.size() == 0) {
      std::fill_n(dgamma, channels, 0.f);
      std::fill_n(dbeta, channels, 0.f);
      return;
    }
    const Maps maps(x.size() / channels, channels, sizeof(Value));
    const auto *upstream = dy.data<Value>(), *from = x.data<Value>();
    Scratch scratch(Lines::Bytes(channels) + NormGradient::Bytes(channels) +
                    Scratch::Bytes<float>(2 * maps.blocks * maps.padded));
    const Lines lines(scratch.Take<float>(4 * maps.padded), channels, gamma.data<float>(),
                      beta.data<float>(), mean.data<float>(), variance.data<float>(), epsilon_);
    float* memory = scratch.Take<float>(2 * maps.padded);
    float* sums = scratch.Take<float>(2 * maps.blocks * maps.padded);
    const int64_t cycles = maps.block * maps.padded / kLanes * 6;
    Parallel(maps.blocks, cycles, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b)
        SumBlock(upstream, from, maps, b, lines, sums + 2 * b * maps.padded);
    });
    const NormGradient gradient(memory, lines, channels, maps.pixels, sums, maps.blocks, of_batch_,
                                dgamma, dbeta);
    Parallel(maps.blocks, cycles, [&](int64_t begin, int64_t end) {
      const int64_t first = maps.first(begin), last = maps.last(end - 1);
      ForChannels(channels, [&]<int registers, bool whole>(int64_t c, int lanes) {
        const Norm<registers> norm(lines, c);
        Lanes slope[registers], share[registers];
        for (int r = 0; r < registers; ++r) {
          slope[r] = gradient.slope(c + r * kLanes);
          share[r] = gradient.share(c + r * kLanes);
        }
        for (int64_t pixel = first; pixel < last; ++pixel) {
          const int64_t at = pixel * channels + c;
          Pixel<Number, registers, whole> value(from + at, lanes), above(upstream + at, lanes);
          for (int r = 0; r < registers; ++r) {
            const Lanes centred = Sub(value.v[r], norm.mean[r]);
            const Lanes dz = norm.Upstream(r, centred, above.v[r]);
            value.v[r] = Fma(Sub(dz, share[r]), norm.scale[r], Mul(centred, slope[r]));
          }
          value.Store(to + at, lanes);
        }
      });
    });
  }

 private:
  static void SumBlock(const Value* dy, const Value* x, const Maps& maps, int64_t b,
                       const Lines& lines, float* to) {
    ForChannels(maps.channels, [&]<int registers, bool whole>(int64_t c, int lanes) {
      const Norm<registers> norm(lines, c);
      const Sums<registers, 2> sums(maps.first(b), maps.last(b), [&](int64_t pixel, auto& sum) {
        const int64_t at = pixel * maps.channels + c;
        const Pixel<Number, registers, whole> value(x + at, lanes), upstream(dy + at, lanes);
        for (int r = 0; r < registers; ++r) {
          const Lanes centred = Sub(value.v[r], norm.mean[r]);
          const Lanes dz = norm.Upstream(r, centred, upstream.v[r]);
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

  float epsilon_;
  bool of_batch_;
};

const bool kRegistered =
    RegisterOperation("TfscMoments", {"x: T"}, {"mean: float", "variance: float"},
                      {"T: {bfloat16, float}"},
                      [](Shapes& shapes) {
                        for (int output : {0, 1}) shapes.Vector(output, 0, 4, 3);
                      }) &&
    RegisterKernels<MapMoments>("TfscMoments") &&
    RegisterOperation("TfscNormRelu",
                      {"x: T", "gamma: float", "beta: float", "mean: float", "variance: float"},
                      {"y: T"}, {"T: {bfloat16, float}", "epsilon: float"},
                      [](Shapes& shapes) { shapes.Like(0, 0, 4); }) &&
    RegisterKernels<NormRelu>("TfscNormRelu") &&
    RegisterOperation("TfscNormReluGradient",
                      {"dy: T", "x: T", "gamma: float", "beta: float", "mean: float",
                       "variance: float"},
                      {"dx: T", "dgamma: float", "dbeta: float"},
                      {"T: {bfloat16, float}", "epsilon: float", "of_batch: bool"},
                      [](Shapes& shapes) {
                        shapes.Like(0, 1, 4);
                        for (int output : {1, 2}) shapes.Vector(output, 1, 4, 3);
                      }) &&
    RegisterKernels<NormReluGradient>("TfscNormReluGradient");

}  // namespace
}  // namespace tfsc
