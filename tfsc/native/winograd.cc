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

#include "numbers.h"
#include "products.h"
#include "scratch.h"
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/util/work_sharder.h"
#include "transforms.h"

namespace tfsc {
namespace {

using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;
using tensorflow::errors::InvalidArgument;

template <typename Number>
constexpr auto kDataType =
    Number::kTogether == 1 ? tensorflow::DT_FLOAT : tensorflow::DT_BFLOAT16;

// Values of a cache line: lines a power of two apart would compete for the same few places.
template <typename Number>
constexpr int64_t kLine = 64 / sizeof(typename Number::Value);

// The tiles of a batch of images.
struct Grid {
  int64_t images, height, width, rows, columns;

  explicit Grid(const Tensor& maps)
      : images(maps.dim_size(0)), height(maps.dim_size(1)), width(maps.dim_size(2)),
        rows((height + kOut - 1) / kOut), columns((width + kOut - 1) / kOut) {}
  int64_t tiles() const { return images * rows * columns; }
  void Place(int64_t tile, int64_t* image, int64_t* top, int64_t* left) const {
    *image = tile / (rows * columns);
    *top = tile / columns % rows * kOut;
    *left = tile % columns * kOut;
  }
};

template <typename Number>
const typename Number::Value* Values(const Tensor& tensor) {
  return reinterpret_cast<const typename Number::Value*>(tensor.tensor_data().data());
}

// Registers of the panel that begins at `column` of `padded` columns.
int Registers(int64_t column, int64_t padded) {
  return static_cast<int>(std::min<int64_t>(kPanel, padded - column) / kLanes);
}

template <typename Function>
void Parallel(OpKernelContext* context, int64_t total, int64_t cycles, const Function& function) {
  const auto* workers = context->device()->tensorflow_cpu_worker_threads();
  tensorflow::Shard(workers->num_threads, workers->workers, total, cycles, function);
}

// `size`² values of 16 channels from (top, left) on; 0 outside the image, which is not read.
template <typename Number, int size>
inline void LoadTile(const typename Number::Value* image, const Grid& grid, int64_t top,
                     int64_t left, int64_t channels, int64_t channel, Lanes* tile) {
  const __mmask16 lanes = Mask(channels - channel);
  __mmask16 columns[size];
  for (int j = 0; j < size; ++j) columns[j] = left + j >= 0 && left + j < grid.width ? lanes : 0;
  for (int i = 0; i < size; ++i) {
    const __mmask16 row = top + i >= 0 && top + i < grid.height ? 0xFFFF : 0;
    const auto* from = image + ((top + i) * grid.width + left) * channels + channel;
    for (int j = 0; j < size; ++j)
      tile[i * size + j] = Number::Load(from + j * channels, row & columns[j]);
  }
}

// Calls store(p, value) for the 36 points of one tile, 16 channels of them: of inputs, or of the
// gradients of outputs. A tile beyond the last, which does not exist, is 0.
template <typename Number, bool inputs, typename Store>
inline void TilePoints(const typename Number::Value* maps, const Grid& grid, int64_t tile,
                       int64_t channels, int64_t channel, const Store& store) {
  if (tile >= grid.tiles()) {
    for (int p = 0; p < kPoints; ++p) store(p, _mm512_setzero_ps());
    return;
  }
  int64_t image, top, left;
  grid.Place(tile, &image, &top, &left);
  const auto* from = maps + image * grid.height * grid.width * channels;
  Lanes half[kPoints], d[kOut * kOut];
  if (inputs) {
    LoadTile<Number, kTile>(from, grid, top - 1, left - 1, channels, channel, half);
    for (int j = 0; j < kTile; ++j) InputTransform<kTile>(half + j, half + j);
  } else {
    LoadTile<Number, kOut>(from, grid, top, left, channels, channel, d);
    for (int j = 0; j < kOut; ++j) OutputGradient<kOut>(d + j, half + j);
  }
  for (int i = 0; i < kTile; ++i) {
    Lanes row[kTile];
    if (inputs) {
      InputTransform<1>(half + i * kTile, row);
    } else {
      OutputGradient<1>(half + i * kOut, row);
    }
    for (int j = 0; j < kTile; ++j) store(i * kTile + j, row[j]);
  }
}

template <typename Number>
class Conv : public OpKernel {
 public:
  using Value = typename Number::Value;

  explicit Conv(OpKernelConstruction* context) : OpKernel(context) {}

  void Compute(OpKernelContext* context) override {
    const Tensor &x = context->input(0), &filters = context->input(1), &bias = context->input(2);
    OP_REQUIRES(context,
                x.dims() == 4 && filters.dims() == 4 && filters.dim_size(0) == 3 &&
                    filters.dim_size(1) == 3 && filters.dim_size(2) == x.dim_size(3) &&
                    bias.dims() == 1 && bias.dim_size(0) == filters.dim_size(3),
                InvalidArgument("must be x [n, h, w, in], filters [3, 3, in, out] and bias [out]. "
                                "Received: ", x.shape().DebugString(), ", ",
                                filters.shape().DebugString(), " and ",
                                bias.shape().DebugString()));
    const int64_t in = x.dim_size(3), out = filters.dim_size(3);
    const Grid grid(x);
    Tensor* y = nullptr;
    OP_REQUIRES_OK(context,
                   context->allocate_output(
                       0, TensorShape({grid.images, grid.height, grid.width, out}), &y));
    if (y->NumElements() == 0) return;
    const int64_t steps = (in + Number::kTogether - 1) / Number::kTogether;
    const int64_t padded = RoundUp(out, kLanes), u_point = steps * Number::kTogether * padded;
    Scratch filter_scratch(Scratch::Bytes<Value>(kPoints * u_point));
    auto* u = filter_scratch.Take<Value>(kPoints * u_point);
    TransformFilters(context, filters.flat<float>().data(), in, out, u);

    // A tile's points lie together, 16 channels at a time: [tile, channels/16, 36, 16]. Scattered,
    // each would miss the first-level cache.
    const int64_t group = kPoints * kLanes;
    const int64_t v_tile = RoundUp(in, kLanes) * kPoints + kLine<Number>;
    const int64_t m_tile = kPanel * kPoints + kLine<Float32>;
    // Points of a block's inputs and of a panel of its outputs fit the second-level cache (1 MiB).
    const int64_t most = std::max<int64_t>(
        600'000 / (sizeof(Value) * v_tile + sizeof(float) * m_tile), 2 * kRows);
    // As many for each thread as for any other.
    const int64_t threads = context->device()->tensorflow_cpu_worker_threads()->num_threads;
    const int64_t turns = (grid.tiles() + threads * most - 1) / (threads * most);
    const int64_t block = (grid.tiles() + threads * turns - 1) / (threads * turns);
    const int64_t blocks = (grid.tiles() + block - 1) / block;
    const auto* input = Values<Number>(x);
    auto* output = const_cast<Value*>(Values<Number>(*y));
    const int64_t cycles = block * kPoints * steps * padded / kLanes;
    Parallel(context, blocks, cycles, [&](int64_t begin, int64_t end) {
      Scratch scratch(Scratch::Bytes<float>(block * m_tile) +
                      Scratch::Bytes<Value>(block * v_tile));
      auto* m = scratch.Take<float>(block * m_tile);
      auto* v = scratch.Take<Value>(block * v_tile);
      for (int64_t b = begin; b < end; ++b) {
        const int64_t first = b * block, count = std::min(block, grid.tiles() - first);
        GatherInputs(input, grid, in, first, count, v_tile, v);
        for (int64_t panel = 0; panel < padded; panel += kPanel) {
          const int registers = Registers(panel, padded);
          const int64_t b_step = registers * Number::kRegister;
          const Layout layout = {
              .steps = steps,
              .a_row = v_tile,
              .a_step = Number::kTogether,
              .a_segment = group,
              .b_register = Number::kRegister,
              .b_step = b_step,
              .b_segment = Number::kSegment * b_step,
              .c_row = m_tile,
              .c_register = group,
          };
          for (int p = 0; p < kPoints; ++p)
            Multiply<Number>(count, registers, v + p * kLanes,
                             u + p * u_point + panel * steps * Number::kTogether, layout,
                             m + p * kLanes, false);
          ScatterOutputs(m, bias.flat<float>().data(), grid, out, first, count, m_tile, panel,
                         registers, output);
        }
      }
    });
  }

 private:
  // Filters as 36 matrices [in, out], each in panels of 64 columns: [steps, columns, kTogether].
  static void TransformFilters(OpKernelContext* context, const float* w, int64_t in, int64_t out,
                               Value* u) {
    constexpr int kTogether = Number::kTogether;
    const int64_t steps = (in + kTogether - 1) / kTogether, padded = RoundUp(out, kLanes);
    Parallel(context, steps, padded * 40, [=](int64_t begin, int64_t end) {
      for (int64_t step = begin; step < end; ++step) {
        for (int64_t column = 0; column < padded; column += kLanes) {
          Lanes points[kTogether][kPoints];
          for (int k = 0; k < kTogether; ++k) {
            const int64_t channel = step * kTogether + k;
            const __mmask16 mask = channel < in ? Mask(out - column) : 0;
            Lanes taps[9], rows[kTile * 3];
            for (int t = 0; t < 9; ++t)
              taps[t] = _mm512_maskz_loadu_ps(mask, w + (t * in + channel) * out + column);
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
                           int64_t count, int64_t v_tile, Value* v) {
    for (int64_t t = 0; t < count; ++t) {
      for (int64_t c = 0; c < in; c += kLanes) {
        Value* to = v + t * v_tile + c * kPoints;
        TilePoints<Number, true>(x, grid, first + t, in, c, [=](int p, Lanes value) {
          Number::Store(to + p * kLanes, 0xFFFF, value);
        });
      }
    }
  }

  static void ScatterOutputs(const float* m, const float* bias, const Grid& grid, int64_t out,
                             int64_t first, int64_t count, int64_t m_tile, int64_t panel,
                             int registers, Value* y) {
    for (int64_t t = 0; t < count; ++t) {
      int64_t image, top, left;
      grid.Place(first + t, &image, &top, &left);
      const int64_t rows = std::min<int64_t>(kOut, grid.height - top);
      const int64_t columns = std::min<int64_t>(kOut, grid.width - left);
      for (int g = 0; g < registers; ++g) {
        const int64_t channel = panel + g * kLanes;
        const __mmask16 mask = Mask(out - channel);
        const Lanes offset = Float32::Load(bias + channel, mask);
        const float* from = m + t * m_tile + g * kPoints * kLanes;
        Lanes half[kOut * kTile], tile[kOut * kOut];
        for (int j = 0; j < kTile; ++j) {
          Lanes column[kTile], outputs[kOut];
          for (int i = 0; i < kTile; ++i)
            column[i] = _mm512_load_ps(from + (i * kTile + j) * kLanes);
          OutputTransform(column, outputs);
          for (int i = 0; i < kOut; ++i) half[i * kTile + j] = outputs[i];
        }
        for (int i = 0; i < kOut; ++i) OutputTransform(half + i * kTile, tile + i * kOut);
        Value* to = y + ((image * grid.height + top) * grid.width + left) * out + channel;
        for (int i = 0; i < rows; ++i)
          for (int j = 0; j < columns; ++j)
            Number::Store(to + (i * grid.width + j) * out, mask, Add(tile[i * kOut + j], offset));
      }
    }
  }
};

template <typename Number>
class ConvFilterGradient : public OpKernel {
 public:
  using Value = typename Number::Value;

  explicit ConvFilterGradient(OpKernelConstruction* context) : OpKernel(context) {}

  void Compute(OpKernelContext* context) override {
    const Tensor &x = context->input(0), &dy = context->input(1);
    OP_REQUIRES(context,
                x.dims() == 4 && dy.dims() == 4 && x.dim_size(0) == dy.dim_size(0) &&
                    x.dim_size(1) == dy.dim_size(1) && x.dim_size(2) == dy.dim_size(2),
                InvalidArgument("must be x [n, h, w, in] and dy [n, h, w, out]. Received: ",
                                x.shape().DebugString(), " and ", dy.shape().DebugString()));
    const int64_t in = x.dim_size(3), out = dy.dim_size(3);
    const Grid grid(x);
    Tensor* dw = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, TensorShape({3, 3, in, out}), &dw));
    if (dw->NumElements() == 0) return;
    const int64_t padded_in = RoundUp(in, kLanes), padded_out = RoundUp(out, kLanes);
    // The sums are read and written once a chunk of tiles; its points fit the third-level cache.
    const int64_t tiles = kLanes;  // of a segment
    const int64_t fit = 8'000'000 / (sizeof(Value) * (Segment(padded_in) + Segment(padded_out)));
    const int64_t segments =
        std::min((grid.tiles() + tiles - 1) / tiles, std::max<int64_t>(fit / 4, 1) * 4);
    const int64_t v_size = segments * Segment(padded_in), d_size = segments * Segment(padded_out);
    const int64_t sums = kPoints * padded_in * padded_out;
    Scratch scratch(Scratch::Bytes<Value>(v_size) + Scratch::Bytes<Value>(d_size) +
                    Scratch::Bytes<float>(sums));
    auto *v = scratch.Take<Value>(v_size), *d = scratch.Take<Value>(d_size);
    float* du = scratch.Take<float>(sums);
    const auto *inputs = Values<Number>(x), *gradients = Values<Number>(dy);
    if (grid.tiles() == 0) std::fill_n(du, sums, 0.f);
    for (int64_t first = 0; first < grid.tiles(); first += segments * tiles) {
      const int64_t count = std::min(segments, (grid.tiles() - first + tiles - 1) / tiles);
      const int64_t work = tiles * (padded_in + padded_out) * 20;
      Parallel(context, count, work, [&](int64_t begin, int64_t end) {
        for (int64_t s = begin; s < end; ++s) {
          GatherSegment<true>(inputs, grid, in, first + s * tiles, padded_in,
                              v + s * Segment(padded_in));
          GatherSegment<false>(gradients, grid, out, first + s * tiles, padded_out,
                               d + s * Segment(padded_out));
        }
      });
      const int64_t steps = count * Number::kSegment;
      Parallel(context, kPoints, steps * padded_in * padded_out / kLanes,
               [&](int64_t begin, int64_t end) {
                 for (int64_t p = begin; p < end; ++p)
                   Sum(p, steps, padded_in, padded_out, v, d, first > 0, du);
               });
    }
    TransformSums(context, du, in, out, padded_in, padded_out, dw->flat<float>().data());
  }

 private:
  // Points of a segment's 16 tiles: [channels/16, 36, steps, 16 channels, kTogether], a line after
  // each point's. Those of 16 channels fill a part of the first-level cache before the next do.
  static constexpr int64_t kPoint = Number::kSegment * Number::kRegister + kLine<Number>;
  static constexpr int64_t kGroup = kPoints * kPoint;

  static int64_t Segment(int64_t padded) { return padded / kLanes * kGroup; }

  template <bool inputs>
  static void GatherSegment(const Value* from, const Grid& grid, int64_t channels, int64_t first,
                            int64_t padded, Value* to) {
    constexpr int kLast = Number::kTogether - 1;
    for (int64_t c = 0; c < padded; c += kLanes) {
      for (int64_t step = 0; step < Number::kSegment; ++step) {
        Value* place = to + c / kLanes * kGroup + step * Number::kRegister;
        const int64_t tile = first + step * Number::kTogether;
        Lanes points[kPoints][Number::kTogether];
        for (int k = 0; k < kLast; ++k)
          TilePoints<Number, inputs>(from, grid, tile + k, channels, c,
                                     [&](int p, Lanes value) { points[p][k] = value; });
        TilePoints<Number, inputs>(from, grid, tile + kLast, channels, c,
                                   [&](int p, Lanes value) {
                                     points[p][kLast] = value;
                                     Number::StoreFactors(place + p * kPoint, points[p]);
                                   });
      }
    }
  }

  static void Sum(int64_t p, int64_t steps, int64_t padded_in, int64_t padded_out, const Value* v,
                  const Value* d, bool add, float* du) {
    const Layout layout = {
        .steps = steps,
        .a_row = Number::kTogether,
        .a_step = Number::kRegister,
        .a_segment = Segment(padded_in),
        .b_register = kGroup,
        .b_step = Number::kRegister,
        .b_segment = Segment(padded_out),
        .c_row = padded_out,
        .c_register = kLanes,
    };
    for (int64_t column = 0; column < padded_out; column += kPanel) {
      const Value* b = d + column / kLanes * kGroup + p * kPoint;
      for (int64_t row = 0; row < padded_in; row += kLanes)
        Multiply<Number>(kLanes, Registers(column, padded_out),
                         v + row / kLanes * kGroup + p * kPoint, b, layout,
                         du + (p * padded_in + row) * padded_out + column, add);
    }
  }

  static void TransformSums(OpKernelContext* context, const float* du, int64_t in, int64_t out,
                            int64_t padded_in, int64_t padded_out, float* dw) {
    Parallel(context, in, padded_out * 40, [=](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        for (int64_t column = 0; column < out; column += kLanes) {
          Lanes points[kPoints], half[3 * kTile], taps[9];
          for (int p = 0; p < kPoints; ++p)
            points[p] = _mm512_load_ps(du + (p * padded_in + row) * padded_out + column);
          for (int j = 0; j < kTile; ++j) FilterGradient<kTile>(points + j, half + j);
          for (int i = 0; i < 3; ++i) FilterGradient<1>(half + i * kTile, taps + i * 3);
          for (int t = 0; t < 9; ++t)
            Float32::Store(dw + (t * in + row) * out + column, Mask(out - column), taps[t]);
        }
      }
    });
  }
};

// The sum of dy over all but its channels, in float32. (TensorFlow's BiasAddGrad adds bfloat16s up in
// bfloat16.)
template <typename Number>
class BiasGradient : public OpKernel {
 public:
  explicit BiasGradient(OpKernelConstruction* context) : OpKernel(context) {}

  void Compute(OpKernelContext* context) override {
    const Tensor& dy = context->input(0);
    OP_REQUIRES(context, dy.dims() == 4,
                InvalidArgument("must be dy [n, h, w, out]. Received: ", dy.shape().DebugString()));
    const int64_t out = dy.dim_size(3), padded = RoundUp(out, kLanes);
    Tensor* db = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, TensorShape({out}), &db));
    if (out == 0) return;
    const int64_t pixels = dy.NumElements() / out, blocks = (pixels + kBlock - 1) / kBlock;
    Scratch scratch(Scratch::Bytes<float>((blocks + 1) * padded));
    float* sums = scratch.Take<float>((blocks + 1) * padded);
    const auto* from = Values<Number>(dy);
    Parallel(context, blocks, kBlock * padded / kLanes * 3, [=](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        const int64_t first = b * kBlock, last = std::min(pixels, first + kBlock);
        for (int64_t c = 0; c < out; c += kLanes) {
          Lanes sum = _mm512_setzero_ps();
          for (int64_t i = first; i < last; ++i)
            sum = Add(sum, Number::Load(from + i * out + c, Mask(out - c)));
          _mm512_store_ps(sums + b * padded + c, sum);
        }
      }
    });
    for (int64_t c = 0; c < out; c += kLanes) {
      Lanes sum = _mm512_setzero_ps();
      for (int64_t b = 0; b < blocks; ++b) sum = Add(sum, _mm512_load_ps(sums + b * padded + c));
      Float32::Store(db->flat<float>().data() + c, Mask(out - c), sum);
    }
  }

 private:
  static constexpr int64_t kBlock = 256;  // pixels that are added up before the blocks are
};

}  // namespace

REGISTER_OP("TfscWinogradConv")
    .Input("x: T")
    .Input("filters: float")
    .Input("bias: float")
    .Output("y: T")
    .Attr("T: {float, bfloat16}")
    .SetShapeFn([](tensorflow::shape_inference::InferenceContext* context) {
      tensorflow::shape_inference::ShapeHandle x, filters, y;
      TF_RETURN_IF_ERROR(context->WithRank(context->input(0), 4, &x));
      TF_RETURN_IF_ERROR(context->WithRank(context->input(1), 4, &filters));
      TF_RETURN_IF_ERROR(context->ReplaceDim(x, 3, context->Dim(filters, 3), &y));
      context->set_output(0, y);
      return absl::OkStatus();
    });

REGISTER_OP("TfscWinogradConvFilterGradient")
    .Input("x: T")
    .Input("dy: T")
    .Output("dw: float")
    .Attr("T: {float, bfloat16}")
    .SetShapeFn([](tensorflow::shape_inference::InferenceContext* context) {
      tensorflow::shape_inference::ShapeHandle x, dy;
      TF_RETURN_IF_ERROR(context->WithRank(context->input(0), 4, &x));
      TF_RETURN_IF_ERROR(context->WithRank(context->input(1), 4, &dy));
      context->set_output(0, context->MakeShape({3, 3, context->Dim(x, 3), context->Dim(dy, 3)}));
      return absl::OkStatus();
    });

REGISTER_OP("TfscBiasGradient")
    .Input("dy: T")
    .Output("db: float")
    .Attr("T: {float, bfloat16}")
    .SetShapeFn([](tensorflow::shape_inference::InferenceContext* context) {
      tensorflow::shape_inference::ShapeHandle dy;
      TF_RETURN_IF_ERROR(context->WithRank(context->input(0), 4, &dy));
      context->set_output(0, context->Vector(context->Dim(dy, 3)));
      return absl::OkStatus();
    });

#define REGISTER(Number)                                                                       \
  REGISTER_KERNEL_BUILDER(Name("TfscWinogradConv")                                             \
                              .Device(tensorflow::DEVICE_CPU)                                  \
                              .TypeConstraint("T", kDataType<Number>),                         \
                          Conv<Number>);                                                       \
  REGISTER_KERNEL_BUILDER(Name("TfscWinogradConvFilterGradient")                               \
                              .Device(tensorflow::DEVICE_CPU)                                  \
                              .TypeConstraint("T", kDataType<Number>),                         \
                          ConvFilterGradient<Number>);                                         \
  REGISTER_KERNEL_BUILDER(Name("TfscBiasGradient")                                             \
                              .Device(tensorflow::DEVICE_CPU)                                  \
                              .TypeConstraint("T", kDataType<Number>),                         \
                          BiasGradient<Number>)

REGISTER(Float32);
REGISTER(BFloat16);
#undef REGISTER

}  // namespace tfsc
