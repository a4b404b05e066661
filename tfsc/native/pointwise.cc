// 1×1 convolutions of stride 1 with what stands around them, and their gradients, as TensorFlow
// operations for CPUs.
//
//   y = a·W + b + r,   a = x, or max(γ·(x − mean)/√(variance + ε) + β, 0)
//
// x [n, h, w, in], y and r [n, h, w, out] of one type, W [1, 1, in, out] and all else float32
// [channels]. Without γ (an empty one) a is x; without r nothing is added. Maps are read and written
// once: what is between is made of some pixels at a time, which stay in the cache. Products are of
// float32 or of bfloat16 with float32 sums; y is rounded once.
// Every output is summed in an order that depends on shapes alone.

#include <algorithm>
#include <cmath>
#include <optional>

#include "channels.h"
#include "operation.h"
#include "products.h"

namespace tfsc {
namespace {

bool IsAligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 64 == 0; }

// Pixels that are worked on at a time: so many that their inputs and outputs fit half a megabyte.
int64_t BlockOf(int64_t in, int64_t out) {
  const int64_t fit = 12'288 / std::max<int64_t>(std::max(in, out), 1);
  return std::clamp<int64_t>(fit / 16 * 16, 32, 192);
}

// A matrix of float32 [depth, columns] as factors: in panels of 64 columns, each
// [steps, columns, kTogether].
template <typename Number>
class Factors {
 public:
  using Value = typename Number::Value;

  Factors(int64_t depth, int64_t columns)
      : depth_(depth), columns_(columns), steps_((depth + kTogether - 1) / kTogether),
        padded_(RoundUp(columns, kLanes)) {}
  int64_t size() const { return steps_ * kTogether * padded_; }
  int64_t padded() const { return padded_; }

  // Of element [k, column] at from[k·row + column·next].
  void Pack(const float* from, int64_t row, int64_t next, Value* to) {
    values_ = to;
    for (int64_t column = 0; column < padded_; column += kLanes) {
      const int64_t panel = column / kPanel * kPanel;
      for (int64_t step = 0; step < steps_; ++step) {
        Lanes together[kTogether];
        for (int k = 0; k < kTogether; ++k) {
          const int64_t at = step * kTogether + k;
          alignas(64) float held[kLanes] = {};
          const int lanes = at < depth_ ? Left(columns_ - column) : 0;
          for (int i = 0; i < lanes; ++i) held[i] = from[at * row + (column + i) * next];
          together[k] = LoadAligned(held);
        }
        Number::StoreFactors(to + panel * steps_ * kTogether +
                                 step * Registers(panel) * Number::kRegister +
                                 (column - panel) * kTogether,
                             together);
      }
    }
  }

  // c [rows, padded columns] = a [rows, depth] · this; rows of a are `a_row` values apart.
  void Multiply(int64_t rows, const Value* a, int64_t a_row, float* c) const {
    for (int64_t panel = 0; panel < padded_; panel += kPanel) {
      const int registers = Registers(panel);
      const Layout layout = {
          .steps = steps_,
          .segment = steps_,
          .a_row = a_row,
          .a_step = kTogether,
          .a_segment = 0,
          .b_register = Number::kRegister,
          .b_step = registers * Number::kRegister,
          .b_segment = 0,
          .c_row = padded_,
          .c_register = kLanes,
      };
      tfsc::Multiply<Number>(rows, registers, a, values_ + panel * steps_ * kTogether, layout,
                             c + panel, false);
    }
  }

 private:
  static constexpr int kTogether = Number::kTogether;

  int Registers(int64_t panel) const {
    return static_cast<int>(std::min<int64_t>(kPanel, padded_ - panel) / kLanes);
  }

  int64_t depth_, columns_, steps_, padded_;
  const Value* values_ = nullptr;
};

// Some pixels' values, one below the other.
template <typename Number>
struct Rows {
  using Value = typename Number::Value;
  static constexpr int kTogether = Number::kTogether;

  const Value* values;
  int64_t count, channels, stride;

  // The same normalised, or copied, with zeros behind the channels.
  Rows Made(const Lines* lines, Value* to) const {
    const int64_t padded = RoundUp(channels, kLanes);
    ForChannels(channels, [&]<int registers, bool whole>(int64_t c, int lanes) {
      if (lines == nullptr) {
        for (int64_t i = 0; i < count; ++i)
          Pixel<Number, registers, whole>(values + i * stride + c, lanes)
              .StoreAll(to + i * padded + c);
        return;
      }
      const Norm<registers> norm(*lines, c);
      for (int64_t i = 0; i < count; ++i) {
        Pixel<Number, registers, whole> value(values + i * stride + c, lanes);
        for (int r = 0; r < registers; ++r) value.v[r] = norm.Output(r, value.v[r]);
        value.StoreAll(to + i * padded + c);
      }
    });
    return {to, count, channels, padded};
  }
  // As columns of a product that sums over the pixels: [steps, channels, kTogether], with zeros for
  // pixels that do not exist.
  const Value* AsColumns(Value* to) const {
    const int64_t padded = RoundUp(channels, kLanes);
    if (kTogether == 1 && stride == padded && IsAligned(values)) return values;
    for (int64_t i = 0; i < RoundUp(count, kUnit); i += kTogether) {
      for (int64_t c = 0; c < padded; c += kLanes) {
        Lanes together[kTogether];
        for (int k = 0; k < kTogether; ++k)
          together[k] = i + k < count
                            ? Number::Load(values + (i + k) * stride + c, Left(channels - c))
                            : Zero();
        Number::StoreFactors(to + i * padded + c * kTogether, together);
      }
    }
    return to;
  }
  // As its rows, in the same memory or, where that is turned round, in `turned`: how far apart rows
  // and steps are then.
  struct Sides {
    const Value* values;
    int64_t row, step;
  };
  Sides AsRows(Value* to, Value* turned) const {
    const Value* columns = AsColumns(to);
    const int64_t padded = RoundUp(channels, kLanes);
    if constexpr (Number::kAcross) {
      const int64_t row = RoundUp(count, kUnit);
      for (int64_t i = 0; i < row; i += kUnit)
        for (int64_t c = 0; c < padded; c += kLanes)
          Number::Turn(columns + i * padded + c * kTogether, padded * kTogether,
                       turned + c * row + i, row);
      return {turned, row, kTogether};
    }
    return {columns, kTogether, padded * kTogether};
  }
  // Pixels come in units of so many.
  static constexpr int64_t kUnit = Number::kAcross ? 16 * kTogether : kTogether;
};

// What both operations are given.
template <typename Number>
struct Inputs {
  using Value = typename Number::Value;

  Tensor x, kernel, gamma, beta, mean, variance;

  // Of inputs `first` on.
  Inputs(Call& call, int first)
      : x(call.input(first)), kernel(call.input(first + 1)), gamma(call.input(first + 2)),
        beta(call.input(first + 3)), mean(call.input(first + 4)), variance(call.input(first + 5)) {}

  bool normalizes() const { return gamma.size() > 0; }
  bool Fits(Call& call) const {
    const int64_t in = x.rank() == 4 ? x.dim(3) : -1;
    const bool norm = !normalizes() || (gamma.Is({in}) && beta.Is({in}) && mean.Is({in}) &&
                                        variance.Is({in}));
    return call.Requires(
        norm && kernel.rank() == 4 && kernel.Is({1, 1, in, kernel.dim(3)}),
        "must be x [n, h, w, in], kernel [1, 1, in, out], gamma, beta, mean and variance [in], or "
        "an empty gamma. Received: ", x.shape(), ", ", kernel.shape(), ", ", gamma.shape(), ", ",
        beta.shape(), ", ", mean.shape(), " and ", variance.shape());
  }
  std::optional<Lines> MakeLines(Scratch& scratch, float epsilon) const {
    float* memory = scratch.Take<float>(4 * RoundUp(x.dim(3), kLanes));
    if (!normalizes()) return std::nullopt;
    return Lines(memory, x.dim(3), gamma.data<float>(), beta.data<float>(), mean.data<float>(),
                 variance.data<float>(), epsilon);
  }
};

template <typename Number>
class Pointwise {
 public:
  using Value = typename Number::Value;

  explicit Pointwise(Construction& construction)
      : epsilon_(construction.number("epsilon")), moments_(construction.flag("moments")) {}

  void Compute(Call& call) const {
    const Inputs<Number> inputs(call, 0);
    const Tensor bias = call.input(6), residual = call.input(7);
    if (!inputs.Fits(call)) return;
    const Tensor& x = inputs.x;
    const int64_t in = x.dim(3), out = inputs.kernel.dim(3);
    if (!call.Requires(bias.Is({out}) &&
                           (residual.size() == 0 ||
                            residual.Is({x.dim(0), x.dim(1), x.dim(2), out})),
                       "must be bias [out] and residual [n, h, w, out] or empty. Received: ",
                       bias.shape(), " and ", residual.shape(), " for ", std::to_string(out),
                       " outputs"))
      return;
    auto* y = call.output<Value>(0, {x.dim(0), x.dim(1), x.dim(2), out});
    auto *mean = call.output<float>(1, {out}), *variance = call.output<float>(2, {out});
    if (y == nullptr || mean == nullptr || variance == nullptr) return;
    const int64_t pixels = x.dim(0) * x.dim(1) * x.dim(2);
    if (pixels == 0 || !moments_) {
      std::fill_n(mean, out, NAN);  // as of no pixels
      std::fill_n(variance, out, NAN);
    }
    if (pixels * out == 0) return;
    const Maps maps(pixels, out, sizeof(Value), BlockOf(in, out));
    const int64_t sums = moments_ ? 2 * maps.blocks * maps.padded : 0;
    Factors<Number> factors(in, out);
    Scratch scratch(Scratch::Bytes<Value>(factors.size()) + Lines::Bytes(in) +
                    Scratch::Bytes<float>(sums) + Scratch::Bytes<float>(maps.padded));
    factors.Pack(inputs.kernel.template data<float>(), out, 1, scratch.Take<Value>(factors.size()));
    const std::optional<Lines> lines = inputs.MakeLines(scratch, epsilon_);
    float *blocks = scratch.Take<float>(sums), *offset = scratch.Take<float>(maps.padded);
    std::fill(std::copy_n(bias.data<float>(), out, offset), offset + maps.padded, 0.f);
    const auto *from = x.data<Value>(), *added = residual.size() ? residual.data<Value>() : nullptr;
    const int64_t padded_in = RoundUp(in, kLanes);
    const int64_t cycles = maps.block * (padded_in + 8) * maps.padded / (2 * kLanes);
    Parallel(maps.blocks, cycles, [&](int64_t begin, int64_t end) {
      Scratch own(Scratch::Bytes<Value>(maps.block * padded_in) +
                  Scratch::Bytes<float>(maps.block * maps.padded));
      auto* made = own.Take<Value>(maps.block * padded_in);
      auto* products = own.Take<float>(maps.block * maps.padded);
      for (int64_t b = begin; b < end; ++b) {
        const int64_t first = maps.first(b), count = maps.last(b) - first;
        Rows<Number> rows = {from + first * in, count, in, in};
        if (lines || in != padded_in) rows = rows.Made(lines ? &*lines : nullptr, made);
        factors.Multiply(count, rows.values, rows.stride, products);
        Finish(products, maps, offset, added ? added + first * out : nullptr, count,
               y + first * out);
        if (moments_) Moments<Number>(y + first * out, maps, b, blocks + 2 * b * maps.padded);
      }
    });
    if (moments_) Join(blocks, maps, mean, variance);
  }

 private:
  static void Finish(const float* products, const Maps& maps, const float* bias,
                     const Value* added, int64_t count, Value* y) {
    ForChannels(maps.channels, [&]<int registers, bool whole>(int64_t c, int lanes) {
      Lanes offset[registers];
      for (int r = 0; r < registers; ++r) offset[r] = LoadAligned(bias + c + r * kLanes);
      for (int64_t i = 0; i < count; ++i) {
        Pixel<Number, registers, whole> value;
        for (int r = 0; r < registers; ++r)
          value.v[r] = Add(LoadAligned(products + i * maps.padded + c + r * kLanes), offset[r]);
        if (added != nullptr) {
          const Pixel<Number, registers, whole> other(added + i * maps.channels + c, lanes);
          for (int r = 0; r < registers; ++r) value.v[r] = Add(value.v[r], other.v[r]);
        }
        value.Store(y + i * maps.channels + c, lanes);
      }
    });
  }

  float epsilon_;
  bool moments_;
};

// dx + r, dW, db, dγ and dβ of an upstream gradient dy; r, like x, may be empty. `of_batch`: as if
// mean and variance were made of x.
template <typename Number>
class PointwiseGradient {
 public:
  using Value = typename Number::Value;

  explicit PointwiseGradient(Construction& construction)
      : epsilon_(construction.number("epsilon")), of_batch_(construction.flag("of_batch")) {}

  void Compute(Call& call) const {
    const Tensor dy = call.input(0), residual = call.input(7);
    const Inputs<Number> inputs(call, 1);
    if (!inputs.Fits(call)) return;
    const Tensor& x = inputs.x;
    const int64_t in = x.dim(3), out = inputs.kernel.dim(3);
    if (!call.Requires(dy.Is({x.dim(0), x.dim(1), x.dim(2), out}) &&
                           (residual.size() == 0 || residual.IsLike(x)),
                       "must be dy [n, h, w, out] and residual like x or empty. Received: ",
                       dy.shape(), " and ", residual.shape(), " for ", x.shape()))
      return;
    const int64_t normalized = inputs.normalizes() ? in : 0;
    auto* dx = call.output_like<Value>(0, x);
    auto* dkernel = call.output<float>(1, {1, 1, in, out});
    auto* dbias = call.output<float>(2, {out});
    auto* dgamma = call.output<float>(3, {normalized});
    auto* dbeta = call.output<float>(4, {normalized});
    if (!(dx && dkernel && dbias && dgamma && dbeta)) return;
    const int64_t pixels = x.dim(0) * x.dim(1) * x.dim(2);
    if (pixels == 0) {
      std::fill_n(dkernel, in * out, 0.f);
      std::fill_n(dbias, out, 0.f);
      std::fill_n(dgamma, normalized, 0.f);
      std::fill_n(dbeta, normalized, 0.f);
      return;
    }
    const Maps maps(pixels, in, sizeof(Value), BlockOf(in, out));
    const int64_t padded_out = RoundUp(out, kLanes), padded_in = maps.padded;
    // Shares whose sums are kept apart, whoever computes them.
    const int64_t parts = std::min<int64_t>(maps.blocks, 32);
    Factors<Number> factors(out, in);
    Scratch scratch(Scratch::Bytes<Value>(factors.size()) + Lines::Bytes(in) +
                    NormGradient::Bytes(in) + Scratch::Bytes<float>(parts * in * padded_out) +
                    Scratch::Bytes<float>(parts * padded_out) +
                    Scratch::Bytes<float>(parts * 2 * padded_in));
    factors.Pack(inputs.kernel.template data<float>(), 1, out, scratch.Take<Value>(factors.size()));
    const std::optional<Lines> lines = inputs.MakeLines(scratch, epsilon_);
    auto* memory = scratch.Take<float>(2 * padded_in);
    auto* kernels = scratch.Take<float>(parts * in * padded_out);
    auto* biases = scratch.Take<float>(parts * padded_out);
    auto* sums = scratch.Take<float>(parts * 2 * padded_in);
    const auto *from = x.data<Value>(), *upstream = dy.data<Value>();
    const auto* added = residual.size() ? residual.data<Value>() : nullptr;
    const int64_t cycles = pixels / parts * (padded_in + 8) * (padded_out + 8) / kLanes;
    Parallel(parts, cycles, [&](int64_t begin, int64_t end) {
      const int64_t room = RoundUp(maps.block, Rows<Number>::kUnit);
      Scratch own(3 * Scratch::Bytes<Value>(room * padded_in) +
                  2 * Scratch::Bytes<Value>(room * padded_out) +
                  Scratch::Bytes<float>(maps.block * padded_in));
      auto *made = own.Take<Value>(room * padded_in), *steps = own.Take<Value>(room * padded_in);
      auto* turned = own.Take<Value>(room * padded_in);
      auto* copied = own.Take<Value>(room * padded_out);
      auto* columns = own.Take<Value>(room * padded_out);
      auto* products = own.Take<float>(maps.block * padded_in);
      for (int64_t part = begin; part < end; ++part) {
        std::fill_n(biases + part * padded_out, padded_out, 0.f);
        std::fill_n(sums + part * 2 * padded_in, 2 * padded_in, 0.f);
        const int64_t first_block = maps.blocks * part / parts;
        for (int64_t b = first_block; b < maps.blocks * (part + 1) / parts; ++b) {
          const int64_t first = maps.first(b), count = maps.last(b) - first;
          Rows<Number> rows = {from + first * in, count, in, in};
          if (lines || in != padded_in) rows = rows.Made(lines ? &*lines : nullptr, made);
          Rows<Number> above = {upstream + first * out, count, out, out};
          if (out != padded_out) above = above.Made(nullptr, copied);
          SumKernel(rows, rows.AsRows(steps, turned), above.AsColumns(columns), padded_out,
                    b > first_block, kernels + part * in * padded_out);
          AddUp(above, biases + part * padded_out);
          factors.Multiply(count, above.values, above.stride, products);
          if (lines) {
            Mask(products, from + first * in, maps, *lines, count, dx + first * in,
                 sums + part * 2 * padded_in);
          } else {
            Put(products, added ? added + first * in : nullptr, maps, count, dx + first * in);
          }
        }
      }
    });
    SumParts(kernels, parts, in, out, dkernel);
    SumParts(biases, parts, 1, out, dbias);
    if (!lines) return;
    const NormGradient gradient(memory, *lines, in, pixels, sums, parts, of_batch_, dgamma, dbeta);
    Parallel(maps.blocks, maps.block * padded_in / kLanes * 4, [&](int64_t begin, int64_t end) {
      const int64_t first = maps.first(begin) * in;
      Finish(from + first, added ? added + first : nullptr, maps, *lines, gradient,
             maps.last(end - 1) - maps.first(begin), dx + first);
    });
  }

 private:
  static constexpr int kTogether = Number::kTogether;

  // dW of some pixels: aᵀ·dy.
  static void SumKernel(const Rows<Number>& rows, const typename Rows<Number>::Sides& a,
                        const Value* dy, int64_t padded_out, bool add, float* to) {
    const int64_t steps = RoundUp(rows.count, Rows<Number>::kUnit) / kTogether;
    for (int64_t panel = 0; panel < padded_out; panel += kPanel) {
      const Layout layout = {
          .steps = steps,
          .segment = steps,
          .a_row = a.row,
          .a_step = a.step,
          .a_segment = 0,
          .b_register = Number::kRegister,
          .b_step = padded_out * kTogether,
          .b_segment = 0,
          .c_row = padded_out,
          .c_register = kLanes,
      };
      const int registers = static_cast<int>(std::min<int64_t>(kPanel, padded_out - panel) / kLanes);
      Multiply<Number>(rows.channels, registers, a.values, dy + panel * kTogether, layout,
                       to + panel, add);
    }
  }

  static void AddUp(const Rows<Number>& rows, float* to) {
    ForChannels(rows.channels, [&]<int registers, bool whole>(int64_t c, int lanes) {
      const Sums<registers, 1> sums(0, rows.count, [&](int64_t i, auto& sum) {
        const Pixel<Number, registers, whole> value(rows.values + i * rows.stride + c, lanes);
        for (int r = 0; r < registers; ++r) sum[0][r] = Add(sum[0][r], value.v[r]);
      });
      for (int r = 0; r < registers; ++r) {
        float* place = to + c + r * kLanes;
        StoreAligned(place, Add(LoadAligned(place), sums.at(0, r)));
      }
    });
  }

  // dz, and its sums.
  static void Mask(const float* da, const Value* x, const Maps& maps, const Lines& lines,
                   int64_t count, Value* dz, float* to) {
    ForChannels(maps.channels, [&]<int registers, bool whole>(int64_t c, int lanes) {
      const Norm<registers> norm(lines, c);
      const Sums<registers, 2> sums(0, count, [&](int64_t i, auto& sum) {
        Pixel<Number, registers, whole> value(x + i * maps.channels + c, lanes);
        for (int r = 0; r < registers; ++r) {
          const Lanes centred = Sub(value.v[r], norm.mean[r]);
          const Lanes above = LoadAligned(da + i * maps.padded + c + r * kLanes);
          value.v[r] = norm.Upstream(r, centred, above);
          sum[0][r] = Add(sum[0][r], value.v[r]);
          sum[1][r] = Fma(value.v[r], centred, sum[1][r]);
        }
        value.Store(dz + i * maps.channels + c, lanes);
      });
      for (int r = 0; r < registers; ++r) {
        for (int quantity = 0; quantity < 2; ++quantity) {
          float* place = to + quantity * maps.padded + c + r * kLanes;
          StoreAligned(place, Add(LoadAligned(place), sums.at(quantity, r)));
        }
      }
    });
  }

  static void Put(const float* da, const Value* added, const Maps& maps, int64_t count, Value* dx) {
    ForChannels(maps.channels, [&]<int registers, bool whole>(int64_t c, int lanes) {
      for (int64_t i = 0; i < count; ++i) {
        Pixel<Number, registers, whole> value;
        for (int r = 0; r < registers; ++r)
          value.v[r] = LoadAligned(da + i * maps.padded + c + r * kLanes);
        if (added != nullptr) {
          const Pixel<Number, registers, whole> other(added + i * maps.channels + c, lanes);
          for (int r = 0; r < registers; ++r) value.v[r] = Add(value.v[r], other.v[r]);
        }
        value.Store(dx + i * maps.channels + c, lanes);
      }
    });
  }

  // dx of dz, which it replaces.
  static void Finish(const Value* x, const Value* added, const Maps& maps, const Lines& lines,
                     const NormGradient& gradient, int64_t count, Value* dx) {
    ForChannels(maps.channels, [&]<int registers, bool whole>(int64_t c, int lanes) {
      Lanes mean[registers], scale[registers], slope[registers], share[registers];
      for (int r = 0; r < registers; ++r) {
        mean[r] = lines.mean(c + r * kLanes), scale[r] = lines.scale(c + r * kLanes);
        slope[r] = gradient.slope(c + r * kLanes), share[r] = gradient.share(c + r * kLanes);
      }
      for (int64_t i = 0; i < count; ++i) {
        const int64_t at = i * maps.channels + c;
        Pixel<Number, registers, whole> value(x + at, lanes), dz(dx + at, lanes);
        for (int r = 0; r < registers; ++r)
          value.v[r] = Fma(Sub(dz.v[r], share[r]), scale[r],
                           Mul(Sub(value.v[r], mean[r]), slope[r]));
        if (added != nullptr) {
          const Pixel<Number, registers, whole> other(added + at, lanes);
          for (int r = 0; r < registers; ++r) value.v[r] = Add(value.v[r], other.v[r]);
        }
        value.Store(dx + at, lanes);
      }
    });
  }

  // Sums of matrices [rows, padded columns], side by side in `parts`.
  static void SumParts(const float* parts, int64_t count, int64_t rows, int64_t columns,
                       float* sums) {
    const int64_t padded = RoundUp(columns, kLanes), size = rows * padded;
    Parallel(rows, padded / kLanes * count, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        for (int64_t c = 0; c < columns; c += kLanes) {
          Lanes sum = LoadAligned(parts + row * padded + c);
          for (int64_t part = 1; part < count; ++part)
            sum = Add(sum, LoadAligned(parts + part * size + row * padded + c));
          StoreLanes(sums + row * columns + c, sum, Left(columns - c));
        }
      }
    });
  }

  float epsilon_;
  bool of_batch_;
};

const bool kRegistered =
    RegisterOperation("TfscPointwise",
                      {"x: T", "kernel: float", "gamma: float", "beta: float", "mean: float",
                       "variance: float", "bias: float", "residual: T"},
                      {"y: T", "y_mean: float", "y_variance: float"},
                      {"T: {float, bfloat16}", "epsilon: float", "moments: bool"},
                      [](Shapes& shapes) {
                        shapes.WithLastOf(0, 0, 1);
                        for (int output : {1, 2}) shapes.Vector(output, 1, 4, 3);
                      }) &&
    RegisterProducts<Pointwise>("TfscPointwise") &&
    RegisterOperation("TfscPointwiseGradient",
                      {"dy: T", "x: T", "kernel: float", "gamma: float", "beta: float",
                       "mean: float", "variance: float", "residual: T"},
                      {"dx: T", "dkernel: float", "dbias: float", "dgamma: float", "dbeta: float"},
                      {"T: {float, bfloat16}", "epsilon: float", "of_batch: bool"},
                      [](Shapes& shapes) {
                        shapes.Like(0, 1, 4);
                        shapes.Like(1, 2, 4);
                        shapes.Vector(2, 2, 4, 3);
                        shapes.Like(3, 3, 1);
                        shapes.Like(4, 3, 1);
                      }) &&
    RegisterProducts<PointwiseGradient>("TfscPointwiseGradient");

}  // namespace
}  // namespace tfsc
