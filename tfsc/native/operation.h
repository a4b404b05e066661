// TensorFlow operations for CPUs by its C interface: the headers of the one for C++ take as long to
// compile as all that is here, and it changes with each version.

#ifndef TFSC_NATIVE_OPERATION_H_
#define TFSC_NATIVE_OPERATION_H_

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>

#include "numbers.h"
#include "tensorflow/c/kernels.h"
#include "tensorflow/c/ops.h"
#include "threads.h"

namespace tfsc {

template <auto function>
struct Deleter {
  template <typename T>
  void operator()(T* pointer) const {
    function(pointer);
  }
};
using Status = std::unique_ptr<TF_Status, Deleter<TF_DeleteStatus>>;

// What an operation is given or makes.
class Tensor {
 public:
  explicit Tensor(TF_Tensor* tensor) : tensor_(tensor) {}

  int rank() const { return TF_NumDims(tensor_.get()); }
  int64_t dim(int axis) const { return TF_Dim(tensor_.get(), axis); }
  int64_t size() const { return TF_TensorElementCount(tensor_.get()); }
  template <typename T>
  T* data() const {
    return static_cast<T*>(TF_TensorData(tensor_.get()));
  }

  bool Is(std::initializer_list<int64_t> dims) const {
    if (rank() != static_cast<int>(dims.size())) return false;
    int axis = 0;
    for (int64_t size : dims)
      if (dim(axis++) != size) return false;
    return true;
  }
  bool IsLike(const Tensor& other) const {
    if (rank() != other.rank()) return false;
    for (int axis = 0; axis < rank(); ++axis)
      if (dim(axis) != other.dim(axis)) return false;
    return true;
  }
  // As TensorFlow shows it: [64,32,32,3].
  std::string shape() const {
    std::string text = "[";
    for (int axis = 0; axis < rank(); ++axis)
      text += (axis ? "," : "") + std::to_string(dim(axis));
    return text + "]";
  }

 private:
  std::unique_ptr<TF_Tensor, Deleter<TF_DeleteTensor>> tensor_;
};

// One call of an operation.
class Call {
 public:
  explicit Call(TF_OpKernelContext* context) : context_(context), status_(TF_NewStatus()) {}

  Tensor input(int number) {
    TF_Tensor* tensor = nullptr;
    TF_GetInput(context_, number, &tensor, status_.get());
    return Tensor(tensor);
  }
  template <typename T>
  T* output(int number, std::initializer_list<int64_t> dims) {
    int64_t size = 1;
    for (int64_t dim : dims) size *= dim;
    return Allocate<T>(number, dims.begin(), static_cast<int>(dims.size()), size);
  }
  template <typename T>
  T* output_like(int number, const Tensor& other) {
    int64_t dims[8];
    for (int axis = 0; axis < other.rank(); ++axis) dims[axis] = other.dim(axis);
    return Allocate<T>(number, dims, other.rank(), other.size());
  }
  // Says so and returns false if a rule is broken.
  template <typename... Parts>
  bool Requires(bool holds, const Parts&... parts) {
    if (holds) return true;
    std::string message;
    (message.append(parts), ...);
    TF_SetStatus(status_.get(), TF_INVALID_ARGUMENT, message.c_str());
    TF_OpKernelContext_Failure(context_, status_.get());
    return false;
  }

 private:
  template <typename T>
  T* Allocate(int number, const int64_t* dims, int rank, int64_t size) {
    const Tensor tensor(TF_AllocateOutput(context_, number,
                                          TF_ExpectedOutputDataType(context_, number), dims, rank,
                                          size * sizeof(T), status_.get()));
    if (TF_GetCode(status_.get()) == TF_OK) return tensor.data<T>();
    TF_OpKernelContext_Failure(context_, status_.get());
    return nullptr;
  }

  TF_OpKernelContext* context_;
  Status status_;
};

// What an operation is built of.
class Construction {
 public:
  explicit Construction(TF_OpKernelConstruction* construction)
      : construction_(construction), status_(TF_NewStatus()) {}

  float number(const char* attribute) {
    float value = 0;
    TF_OpKernelConstruction_GetAttrFloat(construction_, attribute, &value, status_.get());
    return value;
  }
  bool flag(const char* attribute) {
    TF_Bool value = 0;
    TF_OpKernelConstruction_GetAttrBool(construction_, attribute, &value, status_.get());
    return value;
  }

 private:
  TF_OpKernelConstruction* construction_;
  Status status_;
};

template <typename Number>
constexpr TF_DataType kDataType =
    sizeof(typename Number::Value) == sizeof(float) ? TF_FLOAT : TF_BFLOAT16;

// Registers a class with a constructor of a Construction and Compute(Call&), for one type T.
template <typename Kernel>
bool RegisterKernel(const char* name, TF_DataType type) {
  TF_KernelBuilder* builder = TF_NewKernelBuilder(
      name, "CPU",
      [](TF_OpKernelConstruction* context) -> void* {
        Construction construction(context);
        return new Kernel(construction);
      },
      [](void* kernel, TF_OpKernelContext* context) {
        Call call(context);
        static_cast<Kernel*>(kernel)->Compute(call);
      },
      [](void* kernel) { delete static_cast<Kernel*>(kernel); });
  const Status status(TF_NewStatus());
  TF_KernelBuilder_TypeConstraint(builder, "T", type, status.get());
  TF_RegisterKernelBuilder(name, builder, status.get());
  return TF_GetCode(status.get()) == TF_OK;
}
template <template <typename> typename Kernel>
bool RegisterKernels(const char* name) {
  return RegisterKernel<Kernel<Float32>>(name, kDataType<Float32>) &&
         RegisterKernel<Kernel<BFloat16>>(name, kDataType<BFloat16>);
}
// For the types whose products can be had.
template <template <typename> typename Kernel>
bool RegisterProducts(const char* name) {
  bool done = RegisterKernel<Kernel<Float32>>(name, kDataType<Float32>);
  if constexpr (BFloat16::kMultiplies)
    done = done && RegisterKernel<Kernel<BFloat16>>(name, kDataType<BFloat16>);
  return done;
}

// The shapes of an operation's inputs, of which those of its outputs are made.
class Shapes {
 public:
  Shapes(TF_ShapeInferenceContext* context, TF_Status* status)
      : context_(context), status_(status) {}

  // Output `output` is like input `input`, of some rank.
  void Like(int output, int input, int rank) { Set(output, Input(input, rank).get()); }
  // Output `output` is [the size of an axis of an input of some rank].
  void Vector(int output, int input, int rank, int axis) {
    Set(output, Part(input, rank, axis, axis + 1).get());
  }
  // Output `output` has all axes but the last of one input, and the last of another, both of rank 4.
  void WithLastOf(int output, int input, int last) {
    Set(output, Joined(Part(input, 4, 0, 3), Part(last, 4, 3, 4)).get());
  }
  // Output `output` is [side, side, the last of one input, the last of another], both of rank 4.
  void Filters(int output, int side, int in, int out) {
    const Handle axis(TF_ShapeInferenceContextVectorFromSize(context_, side));
    const Handle sides = Joined(axis, axis), ins = Joined(sides, Part(in, 4, 3, 4));
    Set(output, Joined(ins, Part(out, 4, 3, 4)).get());
  }

 private:
  using Handle = std::unique_ptr<TF_ShapeHandle, Deleter<TF_DeleteShapeHandle>>;

  Handle Input(int number, int rank) {
    Handle given(TF_NewShapeHandle()), shape(TF_NewShapeHandle());
    TF_ShapeInferenceContextGetInput(context_, number, given.get(), status_);
    TF_ShapeInferenceContextWithRank(context_, given.get(), rank, shape.get(), status_);
    return shape;
  }
  Handle Part(int input, int rank, int first, int last) {
    const Handle whole = Input(input, rank);
    Handle part(TF_NewShapeHandle());
    if (TF_GetCode(status_) == TF_OK)
      TF_ShapeInferenceContextSubshape(context_, whole.get(), first, last, part.get(), status_);
    return part;
  }
  Handle Joined(const Handle& one, const Handle& other) {
    Handle joined(TF_NewShapeHandle());
    if (TF_GetCode(status_) == TF_OK)
      TF_ShapeInferenceContextConcatenateShapes(context_, one.get(), other.get(), joined.get(),
                                                status_);
    return joined;
  }
  void Set(int output, TF_ShapeHandle* shape) {
    if (TF_GetCode(status_) == TF_OK)
      TF_ShapeInferenceContextSetOutput(context_, output, shape, status_);
  }

  TF_ShapeInferenceContext* context_;
  TF_Status* status_;
};

// Registers an operation; infer(shapes) sets the shapes of its outputs.
template <typename Infer>
bool RegisterOperation(const char* name, std::initializer_list<const char*> inputs,
                       std::initializer_list<const char*> outputs,
                       std::initializer_list<const char*> attributes, Infer) {
  TF_OpDefinitionBuilder* builder = TF_NewOpDefinitionBuilder(name);
  for (const char* input : inputs) TF_OpDefinitionBuilderAddInput(builder, input);
  for (const char* output : outputs) TF_OpDefinitionBuilderAddOutput(builder, output);
  for (const char* attribute : attributes) TF_OpDefinitionBuilderAddAttr(builder, attribute);
  TF_OpDefinitionBuilderSetShapeInferenceFunction(
      builder, [](TF_ShapeInferenceContext* context, TF_Status* status) {
        TF_SetStatus(status, TF_OK, "");
        Shapes shapes(context, status);
        Infer()(shapes);
      });
  const Status status(TF_NewStatus());
  TF_RegisterOpDefinition(builder, status.get());
  return TF_GetCode(status.get()) == TF_OK;
}

}  // namespace tfsc

#endif  // TFSC_NATIVE_OPERATION_H_
