#include "tensorflow/c/kernels.h"
#include "tensorflow/c/ops.h"
#include <thread>
#include <mutex>
#include <condition_variable>
#include <vector>
int f(TF_OpKernelContext* c){return TF_NumInputs(c);}
