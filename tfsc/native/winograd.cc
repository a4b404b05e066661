// 3×3 convolutions of stride 1, padding SAME, and the gradients of their filters by Winograd's
// F(4×4, 3×3), and those of their biases, as TensorFlow operations for CPUs.
//
// A tile of 4×4 outputs is Aᵀ((G·g·Gᵀ) ⊙ (Bᵀ·d·B))A of a 6×6 tile d of inputs and the filter g: 36
// multiplications a pair of channels in place of 144. The sums over channels are 36 matrix products,
// of float32 or, by VDPBF16PS, of bfloat16 with float32 sums. Transforms are computed in float32;
// with bfloat16 they are rounded once.
//
// Layouts: x [n, h, w, in] and y [n, h, w, out] of one type; in float32 filters [3, 3, in, out] and
// bias [out], which joins the outputs before they are rounded.
// Every output is summed in an order that depends on neither threads nor blocks of tiles.

#include <algorithm>
#include <limits>
#include <vector>

#include "numbers.h"
#include "operation.h"
#include "products.h"
#include "scratch.h"
#include "transforms.h"

namespace tfsc {
namespace {

// Values of a cache line: lines a power of two apart would compete for the same few places.
template <typename Number>
constexpr int64_t kLine = 64 / sizeof(typename Number::Value);

// Where a tile's outputs begin; with a negative image it is nowhere, and 0.
struct Tile {
  int64_t image, top, left;
};

// The tiles of a batch of images.
struct Grid {
  int64_t images, height, width, rows, columns;

  explicit Grid(const Tensor& maps)
      : images(maps.dim(0)), height(maps.dim(1)), width(maps.dim(2)),
        rows((height + kOut - 1) / kOut), columns((width + kOut - 1) / kOut) {}
  int64_t tiles() const { return images * rows * columns; }
  Tile tile(int64_t number) const {
    return {number / (rows * columns), number / columns % rows * kOut, number % columns * kOut};
  }
};

// Consecutive tiles in an order in which those that need a point are side by side. A tile at the
// lower edge with less than four rows of outputs needs no point of the last row (∞): it counts in the
// fourth row of outputs alone, and the gradient of that row is 0. So with columns at the right edge.
// First come tiles that lack columns, then those that lack nothing, rows, both.
class Order {
 public:
  Order(const Grid& grid, int64_t first, int64_t count) : places_(count), tiles_(count) {
    int64_t sizes[kClasses] = {};
    for (int64_t t = 0; t < count; ++t) ++sizes[places_[t] = Class(grid, grid.tile(first + t))];
    for (int k = 0; k < kClasses; ++k) begins_[k + 1] = begins_[k] + sizes[k];
    int64_t next[kClasses];
    std::copy_n(begins_, kClasses, next);
    for (int64_t t = 0; t < count; ++t) {
      places_[t] = next[places_[t]]++;
      tiles_[places_[t]] = grid.tile(first + t);
    }
  }
  int64_t size() const { return begins_[kClasses]; }
  // The place of the t-th tile, and the tile at a place; beyond the last one nowhere.
  int64_t place(int64_t t) const { return places_[t]; }
  Tile tile(int64_t place) const { return place < size() ? tiles_[place] : Tile{-1, 0, 0}; }
  // Places of the tiles that need point p: from begin to before end.
  int64_t begin(int p) const { return begins_[p % kTile == kTile - 1 ? 1 : 0]; }
  int64_t end(int p) const {
    return begins_[p / kTile == kTile - 1 ? 2 : p % kTile == kTile - 1 ? 3 : 4];
  }

 private:
  static constexpr int kClasses = 4;

  static int Class(const Grid& grid, const Tile& tile) {
    const bool rows = tile.top + kOut <= grid.height, columns = tile.left + kOut <= grid.width;
    return rows ? (columns ? 1 : 0) : (columns ? 2 : 3);
  }

  std::vector<int64_t> places_;
  std::vector<Tile> tiles_;
  int64_t begins_[kClasses + 1] = {};
};

// Registers of the panel that begins at `column` of `padded` columns.
int Registers(int64_t column, int64_t padded) {
  return static_cast<int>(std::min<int64_t>(kPanel, padded - column) / kLanes);
}

// What a tile reads, and its points: of inputs, 6×6 around it, or of the gradients of its outputs.
template <typename Number, bool inputs>
class Window {
 public:
  using Value = typename Number::Value;

  Window(const Value* maps, const Grid& grid, const Tile& tile, int64_t channels)
      : channels_(channels) {
    const int64_t top = tile.top - kBefore, left = tile.left - kBefore;
    first_ = std::max<int64_t>(-left, 0);
    last_ = tile.image < 0 ? 0 : std::min<int64_t>(grid.width - left, kSize);
    if (last_ == 0) return;
    for (int i = 0; i < kSize; ++i) {
      const int64_t row = std::clamp<int64_t>(top + i, 0, grid.height - 1);
      exists_[i] = row == top + i;
      rows_[i] = maps + ((tile.image * grid.height + row) * grid.width + left) * channels;
    }
  }

  void Prefetch(int64_t channel, int64_t end) const {
    for (int64_t j = first_; j < last_; ++j)
      for (int64_t c = channel; c < end; c += kLine<Number>)
        for (int i = 0; i < kSize; ++i)
          __builtin_prefetch(rows_[i] + j * channels_ + c);
  }

  // The first half of the transform, of 16 channels: columns.
  struct Half {
    Lanes values[kTile][inputs ? kTile : kOut];
  };
  void Columns(int64_t channel, Half* half) const {
    if (channel + kLanes <= channels_) {
      Columns<true>(channel, half);
    } else {
      Columns<false>(channel, half);
    }
  }
  // The second: a row of points.
  static void Row(const Half& half, int i, Lanes* points) {
    if constexpr (inputs) {
      InputTransform<1>(half.values[i], points);
    } else {
      OutputGradient<1>(half.values[i], points);
    }
  }

 private:
  static constexpr int kSize = inputs ? kTile : kOut, kBefore = inputs ? 1 : 0;

  template <bool whole>
  void Columns(int64_t channel, Half* half) const {
    const int lanes = Left(channels_ - channel);
    for (int j = 0; j < kSize; ++j) {
      Lanes d[kSize], points[kTile];
      if (j < first_ || j >= last_) {
        for (int i = 0; i < kTile; ++i) half->values[i][j] = Zero();
        continue;
      }
      const int64_t at = j * channels_ + channel;
      for (int i = 0; i < kSize; ++i)
        d[i] = !exists_[i] ? Zero()
               : whole     ? Number::Load(rows_[i] + at)
                           : Number::Load(rows_[i] + at, lanes);
      if constexpr (inputs) {
        InputTransform<1>(d, points);
      } else {
        OutputGradient<1>(d, points);
      }
      for (int i = 0; i < kTile; ++i) half->values[i][j] = points[i];
    }
  }

  int64_t channels_, first_, last_;  // columns from first to before last lie in the image
  const Value* rows_[kSize];
  bool exists_[kSize];
};

template <typename Number>
class Conv {
 public:
  using Value = typename Number::Value;

  explicit Conv(Construction&) {}

  void Compute(Call& call) const {
    const Tensor x = call.input(0), filters = call.input(1), bias = call.input(2);
    if (!call.Requires(x.rank() == 4 && bias.rank() == 1 &&
                           filters.Is({3, 3, x.dim(3), bias.dim(0)}),
                       "must be x [n, h, w, in], filters [3, 3, in, out] and bias [out]. "
                       "Received: ", x.shape(), ", ", filters.shape(), " and ", bias.shape()))
      return;
    const int64_t in = x.dim(3), out = filters.dim(3);
    const Grid grid(x);
    auto* output = call.output<Value>(0, {grid.images, grid.height, grid.width, out});
    if (output == nullptr || grid.tiles() * out == 0) return;
    const int64_t steps = (in + Number::kTogether - 1) / Number::kTogether;
    const int64_t padded = RoundUp(out, kLanes), u_point = steps * Number::kTogether * padded;
    Scratch filter_scratch(Scratch::Bytes<Value>(kPoints * u_point));
    auto* u = filter_scratch.Take<Value>(kPoints * u_point);
    TransformFilters(filters.data<float>(), in, out, u);

    // A tile's points lie together, 16 channels at a time: [tile, channels/16, 36, 16]. Scattered,
    // each would miss the first-level cache.
    const int64_t group = kPoints * kLanes;
    const int64_t v_tile = RoundUp(in, kLanes) * kPoints + kLine<Number>;
    const int64_t m_tile = kPanel * kPoints + kLine<Float32>;
    // Points of a block's inputs and of a panel of its outputs fit the second-level cache (1 MiB).
    const int64_t most = std::max<int64_t>(
        600'000 / (sizeof(Value) * v_tile + sizeof(float) * m_tile), 2 * kRows);
    // As many for each thread as for any other.
    const int64_t threads = Pool::Get().size();
    const int64_t turns = (grid.tiles() + threads * most - 1) / (threads * most);
    const int64_t block = (grid.tiles() + threads * turns - 1) / (threads * turns);
    const int64_t blocks = (grid.tiles() + block - 1) / block;
    const auto* input = x.data<Value>();
    const int64_t cycles = block * kPoints * steps * padded / kLanes;
    Parallel(blocks, cycles, [&](int64_t begin, int64_t end) {
      Scratch scratch(Scratch::Bytes<float>(block * m_tile) +
                      Scratch::Bytes<Value>(block * v_tile));
      auto* m = scratch.Take<float>(block * m_tile);
      auto* v = scratch.Take<Value>(block * v_tile);
      for (int64_t b = begin; b < end; ++b) {
        const int64_t first = b * block, count = std::min(block, grid.tiles() - first);
        const Order order(grid, first, count);
        GatherInputs(input, grid, in, first, order, v_tile, v);
        for (int64_t panel = 0; panel < padded; panel += kPanel) {
          const int registers = Registers(panel, padded);
          const int64_t b_step = registers * Number::kRegister;
          const Layout layout = {
              .steps = steps,
              .segment = kLanes / Number::kTogether,
              .a_row = v_tile,
              .a_step = Number::kTogether,
              .a_segment = group,
              .b_register = Number::kRegister,
              .b_step = b_step,
              .b_segment = kLanes / Number::kTogether * b_step,
              .c_row = m_tile,
              .c_register = group,
          };
          for (int p = 0; p < kPoints; ++p) {
            const int64_t from = order.begin(p);
            Multiply<Number>(order.end(p) - from, registers, v + from * v_tile + p * kLanes,
                             u + p * u_point + panel * steps * Number::kTogether, layout,
                             m + from * m_tile + p * kLanes, false);
          }
          ScatterOutputs(m, bias.data<float>(), grid, out, first, order, m_tile, panel,
                         registers, output);
        }
      }
    });
  }

 private:
  // Filters as 36 matrices [in, out], each in panels of 64 columns: [steps, columns, kTogether].
  static void TransformFilters(const float* w, int64_t in, int64_t out, Value* u) {
    constexpr int kTogether = Number::kTogether;
    const int64_t steps = (in + kTogether - 1) / kTogether, padded = RoundUp(out, kLanes);
    Parallel(steps, padded * 40, [=](int64_t begin, int64_t end) {
      for (int64_t step = begin; step < end; ++step) {
        for (int64_t column = 0; column < padded; column += kLanes) {
          Lanes points[kTogether][kPoints];
          for (int k = 0; k < kTogether; ++k) {
            const int64_t channel = step * kTogether + k;
            const int lanes = channel < in ? Left(out - column) : 0;
            Lanes taps[9], rows[kTile * 3];
            for (int t = 0; t < 9; ++t)
              taps[t] = LoadLanes(w + (t * in + channel) * out + column, lanes);
            for (int j = 0; j < 3; ++j) FilterTransform<3, 3>(taps + j, rows + j);
            for (int i = 0; i < kTile; ++i)
              FilterTransform<1, 1>(rows + i * 3, points[k] + i * kTile);
          }
          const int64_t panel = column / kPanel * kPanel;
          Value* to = u + panel * steps * kTogether +
                      step * Registers(panel, padded) * Number::kRegister +
                      (column - panel) * kTogether;
          for (int p = 0; p < kPoints; ++p) {
            Lanes together[kTogether];
            for (int k = 0; k < kTogether; ++k) together[k] = points[k][p];
            Number::StoreFactors(to + p * steps * kTogether * padded, together);
          }
        }
      }
    });
  }

  static void GatherInputs(const Value* x, const Grid& grid, int64_t in, int64_t first,
                           const Order& order, int64_t v_tile, Value* v) {
    for (int64_t t = 0; t < order.size(); ++t) {
      const Window<Number, true> window(x, grid, grid.tile(first + t), in);
      for (int64_t c = 0; c < in; c += kLanes) {
        Value* to = v + order.place(t) * v_tile + c * kPoints;
        typename Window<Number, true>::Half half;
        window.Columns(c, &half);
        for (int i = 0; i < kTile; ++i) {
          Lanes points[kTile];
          window.Row(half, i, points);
          for (int j = 0; j < kTile; ++j)
            Number::Store(to + (i * kTile + j) * kLanes, kLanes, points[j]);
        }
      }
    }
  }

  static void ScatterOutputs(const float* m, const float* bias, const Grid& grid, int64_t out,
                             int64_t first, const Order& order, int64_t m_tile, int64_t panel,
                             int registers, Value* y) {
    for (int64_t t = 0; t < order.size(); ++t) {
      const Tile place = grid.tile(first + t);
      const int64_t rows = std::min<int64_t>(kOut, grid.height - place.top);
      const int64_t columns = std::min<int64_t>(kOut, grid.width - place.left);
      for (int g = 0; g < registers; ++g) {
        const int64_t channel = panel + g * kLanes;
        const int lanes = Left(out - channel);
        const Lanes offset = LoadLanes(bias + channel, lanes);
        const float* from = m + order.place(t) * m_tile + g * kPoints * kLanes;
        Lanes half[kOut * kTile], tile[kOut * kOut];
        for (int j = 0; j < kTile; ++j) {
          Lanes column[kTile], outputs[kOut];
          for (int i = 0; i < kTile; ++i)
            column[i] = LoadAligned(from + (i * kTile + j) * kLanes);
          OutputTransform(column, outputs);
          for (int i = 0; i < kOut; ++i) half[i * kTile + j] = outputs[i];
        }
        for (int i = 0; i < rows; ++i) OutputTransform(half + i * kTile, tile + i * kOut);
        Value* to = y + channel +
                    ((place.image * grid.height + place.top) * grid.width + place.left) * out;
        for (int i = 0; i < rows; ++i)
          for (int j = 0; j < columns; ++j)
            Number::Store(to + (i * grid.width + j) * out, lanes, Add(tile[i * kOut + j], offset));
      }
    }
  }
};

// The gradient of the filters: for each point the product of two matrices, [in, tiles] of the points
// of inputs and [tiles, out] of those of the outputs' gradients. A job sums blocks of 64×64 channels
// over a part of the tiles, on one core, though it transforms channels that other jobs transform as
// well: sums of all channels at once would live in the third-level cache, which other work on the
// machine disturbs; these fit the second (1 MiB), and points pass through it. Which jobs there are
// depends on the shapes alone, and so do the bits.
template <typename Number>
class ConvFilterGradient {
 public:
  using Value = typename Number::Value;

  explicit ConvFilterGradient(Construction&) {}

  void Compute(Call& call) const {
    const Tensor x = call.input(0), dy = call.input(1);
    if (!call.Requires(x.rank() == 4 && dy.rank() == 4 &&
                           dy.Is({x.dim(0), x.dim(1), x.dim(2), dy.dim(3)}),
                       "must be x [n, h, w, in] and dy [n, h, w, out]. Received: ", x.shape(),
                       " and ", dy.shape()))
      return;
    const int64_t in = x.dim(3), out = dy.dim(3);
    const Grid grid(x);
    auto* result = call.output<float>(0, {3, 3, in, out});
    if (result == nullptr) return;
    const int64_t size = 9 * in * out;
    if (size == 0 || grid.tiles() == 0) {
      std::fill_n(result, size, 0.f);
      return;
    }
    const Plan plan(grid.tiles(), in, out);
    Scratch parts_scratch(Scratch::Bytes<float>(plan.parts * size));
    float* parts = parts_scratch.Take<float>(plan.parts * size);
    const auto *inputs = x.data<Value>(), *gradients = dy.data<Value>();
    const int64_t jobs = plan.parts * plan.rows * plan.columns;
    const int64_t cycles = grid.tiles() / plan.parts * plan.sums() / (kLanes * Number::kTogether);
    Parallel(jobs, cycles, [&](int64_t begin, int64_t end) {
      Scratch scratch(plan.bytes());
      float* sums = scratch.Take<float>(plan.sums());
      auto* v = scratch.Take<Value>(plan.points(plan.most_in));
      auto* d = scratch.Take<Value>(plan.points(plan.most_out));
      for (int64_t job = begin; job < end; ++job) {
        const int64_t part = job / (plan.rows * plan.columns);
        const int64_t row = job / plan.columns % plan.rows * kPanel;
        const int64_t column = job % plan.columns * kPanel;
        const int64_t last = plan.chunks * (part + 1) / plan.parts;
        const int64_t first = plan.chunks * part / plan.parts;
        for (int64_t chunk = first; chunk < last; ++chunk) {
          const int64_t tile = chunk * plan.tiles;
          const Order order(grid, tile, std::min(plan.tiles, grid.tiles() - tile));
          Gather<true>(inputs, grid, in, row, order, plan, v);
          Gather<false>(gradients, grid, out, column, order, plan, d);
          Sum(in - row, out - column, order, plan, v, d, chunk > first, sums);
        }
        TransformSums(sums, in, out, row, column, plan, parts + part * size);
      }
    });
    Parallel(9 * in, plan.parts * out / kLanes, [=](int64_t begin, int64_t end) {
      for (int64_t i = begin * out; i < end * out; i += kLanes) {
        const int lanes = Left(end * out - i);
        Lanes sum = LoadLanes(parts + i, lanes);
        for (int64_t part = 1; part < plan.parts; ++part)
          sum = Add(sum, LoadLanes(parts + part * size + i, lanes));
        StoreLanes(result + i, sum, lanes);
      }
    });
  }

 private:
  // How the work is divided.
  struct Plan {
    static constexpr int64_t kJobs = 64;     // about; fewer where there are few tiles
    static constexpr int64_t kTiles = 128;   // at most, so that sums are read and written seldom
    static constexpr int64_t kBytes = 1'800'000;  // of sums and points, but at least 16 tiles
    int64_t rows, columns;                   // blocks of up to 64 channels of inputs, of outputs
    int64_t most_in, most_out;               // channels of the largest block
    int64_t tiles, chunks;                   // tiles that are transformed at a time; how often
    int64_t parts;                           // of the chunks

    Plan(int64_t all_tiles, int64_t in, int64_t out)
        : rows((in + kPanel - 1) / kPanel), columns((out + kPanel - 1) / kPanel),
          most_in(std::min<int64_t>(kPanel, RoundUp(in, kLanes))),
          most_out(std::min<int64_t>(kPanel, RoundUp(out, kLanes))) {
      const int64_t blocks = rows * columns;
      const int64_t tile = sizeof(Value) * kPoints * (most_in + most_out);
      const int64_t fit = (kBytes - sizeof(float) * sums()) / tile / kLanes * kLanes;
      const int64_t share = (all_tiles * blocks + kJobs / 4 - 1) / (kJobs / 4);
      tiles = RoundUp(std::clamp<int64_t>(std::min(fit, share), kLanes, kTiles), kLanes);
      chunks = (all_tiles + tiles - 1) / tiles;
      parts = std::min(chunks, (kJobs + blocks - 1) / blocks);
    }
    int64_t sums() const { return kPoints * most_in * most_out; }
    // Points of a chunk: [channels/16, 36, steps, 16 channels, kTogether], a line after each point's.
    int64_t point() const { return tiles * kLanes + kLine<Number>; }
    int64_t group() const { return kPoints * point(); }
    int64_t points(int64_t channels) const { return channels / kLanes * group(); }
    int64_t bytes() const {
      return Scratch::Bytes<float>(sums()) + Scratch::Bytes<Value>(points(most_in)) +
             Scratch::Bytes<Value>(points(most_out));
    }
  };

  // Points of up to 64 channels from `first` on; of tiles and channels that do not exist 0.
  template <bool inputs>
  static void Gather(const Value* maps, const Grid& grid, int64_t channels, int64_t first,
                     const Order& order, const Plan& plan, Value* to) {
    constexpr int kTogether = Number::kTogether;
    const int64_t last = std::min(first + kPanel, channels);
    constexpr int64_t kAhead = 4;  // so many tiles before they are read, maps are asked for
    std::vector<Window<Number, inputs>> windows;
    const int64_t size = RoundUp(order.size(), kTogether);
    for (int64_t place = 0; place < size; ++place)
      windows.emplace_back(maps, grid, order.tile(place), channels);
    for (int64_t place = 0; place < size; place += kTogether) {
      for (int k = 0; k < kTogether; ++k)
        if (place + k + kAhead < size) windows[place + k + kAhead].Prefetch(first, last);
      for (int64_t c = first; c < last; c += kLanes) {
        Value* step = to + (c - first) / kLanes * plan.group() + place * kLanes;
        typename Window<Number, inputs>::Half halves[kTogether];
        for (int k = 0; k < kTogether; ++k) windows[place + k].Columns(c, &halves[k]);
        for (int i = 0; i < kTile; ++i) {
          Lanes points[kTogether][kTile];
          for (int k = 0; k < kTogether; ++k) windows[place + k].Row(halves[k], i, points[k]);
          for (int j = 0; j < kTile; ++j) {
            Lanes together[kTogether];
            for (int k = 0; k < kTogether; ++k) together[k] = points[k][j];
            Number::StoreFactors(step + (i * kTile + j) * plan.point(), together);
          }
        }
      }
    }
  }

  static void Sum(int64_t in, int64_t out, const Order& order, const Plan& plan, const Value* v,
                  const Value* d, bool add, float* sums) {
    constexpr int kTogether = Number::kTogether;
    const int registers = Registers(0, std::min(RoundUp(out, kLanes), plan.most_out));
    for (int p = 0; p < kPoints; ++p) {
      const int64_t first = order.begin(p) / kTogether;
      const int64_t steps = (order.end(p) + kTogether - 1) / kTogether - first;
      const Layout layout = {
          .steps = steps,
          .segment = steps,
          .a_row = kTogether,
          .a_step = Number::kRegister,
          .a_segment = 0,
          .b_register = plan.group(),
          .b_step = Number::kRegister,
          .b_segment = 0,
          .c_row = plan.most_out,
          .c_register = kLanes,
      };
      const int64_t offset = p * plan.point() + first * Number::kRegister;
      for (int64_t row = 0; row < std::min(in, plan.most_in); row += kLanes)
        Multiply<Number>(kLanes, registers, v + row / kLanes * plan.group() + offset, d + offset,
                         layout, sums + (p * plan.most_in + row) * plan.most_out, add);
    }
  }

  static void TransformSums(const float* sums, int64_t in, int64_t out, int64_t first_row,
                            int64_t first_column, const Plan& plan, float* dw) {
    for (int64_t row = 0; row < std::min<int64_t>(kPanel, in - first_row); ++row) {
      for (int64_t c = 0; c < std::min<int64_t>(kPanel, out - first_column); c += kLanes) {
        Lanes points[kPoints], half[3 * kTile], taps[9];
        for (int p = 0; p < kPoints; ++p)
          points[p] = LoadAligned(sums + (p * plan.most_in + row) * plan.most_out + c);
        for (int j = 0; j < kTile; ++j) FilterGradient<kTile>(points + j, half + j);
        for (int i = 0; i < 3; ++i) FilterGradient<1>(half + i * kTile, taps + i * 3);
        float* to = dw + (first_row + row) * out + first_column + c;
        for (int t = 0; t < 9; ++t)
          Float32::Store(to + t * in * out, Left(out - first_column - c), taps[t]);
      }
    }
  }
};

// The sum of dy over all but its channels, in float32. (TensorFlow's BiasAddGrad adds bfloat16s up in
// bfloat16.)
template <typename Number>
class BiasGradient {
 public:
  explicit BiasGradient(Construction&) {}

  void Compute(Call& call) const {
    const Tensor dy = call.input(0);
    if (!call.Requires(dy.rank() == 4, "must be dy [n, h, w, out]. Received: ", dy.shape())) return;
    const int64_t out = dy.dim(3), padded = RoundUp(out, kLanes);
    float* db = call.output<float>(0, {out});
    if (db == nullptr || out == 0) return;
    const int64_t pixels = dy.size() / out, blocks = (pixels + kBlock - 1) / kBlock;
    Scratch scratch(Scratch::Bytes<float>(blocks * padded));
    float* sums = scratch.Take<float>(blocks * padded);
    const auto* from = dy.data<typename Number::Value>();
    Parallel(blocks, kBlock * padded / kLanes * 3, [=](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        const int64_t first = b * kBlock, last = std::min(pixels, first + kBlock);
        for (int64_t c = 0; c < out; c += kLanes) {
          Lanes sum = Zero();
          for (int64_t i = first; i < last; ++i)
            sum = Add(sum, Number::Load(from + i * out + c, Left(out - c)));
          StoreAligned(sums + b * padded + c, sum);
        }
      }
    });
    for (int64_t c = 0; c < out; c += kLanes) {
      Lanes sum = Zero();
      for (int64_t b = 0; b < blocks; ++b) sum = Add(sum, LoadAligned(sums + b * padded + c));
      StoreLanes(db + c, sum, Left(out - c));
    }
  }

 private:
  static constexpr int64_t kBlock = 256;  // pixels that are added up before the blocks are
};

const bool kRegistered =
    RegisterOperation("TfscWinogradConv", {"x: T", "filters: float", "bias: float"}, {"y: T"},
                      {"T: {float, bfloat16}"},
                      [](Shapes& shapes) { shapes.WithLastOf(0, 0, 1); }) &&
    RegisterProducts<Conv>("TfscWinogradConv") &&
    RegisterOperation("TfscWinogradConvFilterGradient", {"x: T", "dy: T"}, {"dw: float"},
                      {"T: {float, bfloat16}"}, [](Shapes& shapes) { shapes.Filters(0, 3, 0, 1); }) &&
    RegisterProducts<ConvFilterGradient>("TfscWinogradConvFilterGradient") &&
    RegisterOperation("TfscBiasGradient", {"dy: T"}, {"db: float"}, {"T: {float, bfloat16}"},
                      [](Shapes& shapes) { shapes.Vector(0, 0, 4, 3); }) &&
    RegisterKernels<BiasGradient>("TfscBiasGradient");

}  // namespace
}  // namespace tfsc
