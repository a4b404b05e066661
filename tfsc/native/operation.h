// What TensorFlow operations of this folder share.

#ifndef TFSC_NATIVE_OPERATION_H_
#define TFSC_NATIVE_OPERATION_H_

#include <cstdint>

#include "numbers.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/util/work_sharder.h"

namespace tfsc {

template <typename Number>
constexpr auto kDataType =
    sizeof(typename Number::Value) == sizeof(float) ? tensorflow::DT_FLOAT : tensorflow::DT_BFLOAT16;

template <typename Number>
const typename Number::Value* Values(const tensorflow::Tensor& tensor) {
  return reinterpret_cast<const typename Number::Value*>(tensor.tensor_data().data());
}
template <typename Number>
typename Number::Value* Values(tensorflow::Tensor* tensor) {
  return const_cast<typename Number::Value*>(Values<Number>(*tensor));
}

// Calls function(begin, end) for shares of 0 … total, `cycles` each, on the threads of the device.
template <typename Function>
void Parallel(tensorflow::OpKernelContext* context, int64_t total, int64_t cycles,
              const Function& function) {
  const auto* workers = context->device()->tensorflow_cpu_worker_threads();
  tensorflow::Shard(workers->num_threads, workers->workers, total, cycles, function);
}

// Registers Kernel<Float32> and Kernel<BFloat16> for an operation's types T.
#define TFSC_REGISTER_FOR(name, Kernel, Number)                                               \
  REGISTER_KERNEL_BUILDER(                                                                    \
      Name(name).Device(tensorflow::DEVICE_CPU).TypeConstraint("T", kDataType<Number>),       \
      Kernel<Number>)
#define TFSC_REGISTER(name, Kernel)           \
  TFSC_REGISTER_FOR(name, Kernel, Float32);   \
  TFSC_REGISTER_FOR(name, Kernel, BFloat16)
// The same where products of bfloat16 can be had, else for float32 alone.
#if defined(__AVX512BF16__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#define TFSC_REGISTER_PRODUCTS(name, Kernel) TFSC_REGISTER(name, Kernel)
#else
#define TFSC_REGISTER_PRODUCTS(name, Kernel) TFSC_REGISTER_FOR(name, Kernel, Float32)
#endif

}  // namespace tfsc

#endif  // TFSC_NATIVE_OPERATION_H_
