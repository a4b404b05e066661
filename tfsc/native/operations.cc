// All operations in one unit: TensorFlow's headers are most of what compiling takes.

#include "norm.cc"
#include "separable.cc"
#include "winograd.cc"
