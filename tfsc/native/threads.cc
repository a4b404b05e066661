#include "threads.h"

// How many threads each operation computes with.
extern "C" void tfsc_set_threads(int count) { tfsc::Pool::Get().Resize(count); }
