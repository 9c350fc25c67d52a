// The C interface of libraccord: pointers, sizes and strides (in elements), no torch. The Python side checks every
// argument before it takes a pointer; nothing is checked again here, except the instruction-set level.
#ifndef RACCORD_H
#define RACCORD_H

#include <stdint.h>

// Raise it with any change of a signature, a struct or a meaning below, here and in kernels/_native.py.
#define RACCORD_ABI 1

#define RACCORD_EXPORT __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

enum { RACCORD_OK = 0, RACCORD_BAD_LEVEL = 1 };

// Instruction-set levels. Every function gives the same bits at every level.
enum { RACCORD_BEST = -1, RACCORD_SCALAR = 0, RACCORD_AVX2 = 1, RACCORD_AVX512 = 2 };

RACCORD_EXPORT int32_t raccord_abi(void);

// The project's version, such as "0.1.0".
RACCORD_EXPORT const char* raccord_version(void);

// Bit L: level L is compiled in. Bit 16 + L: this CPU and operating system can run level L.
RACCORD_EXPORT uint32_t raccord_cpu_levels(void);

// Normal noise (kernels/noise/__init__.py defines its bits).
typedef struct RaccordGaussian {
  float* out;                  // [streams, channels, height, width], columns adjacent
  const int64_t* stream_rows;  // [streams, 5]: low and high word of the key, step, first y, first x
  const float* table;          // [497, 4] coefficients, constant first
  int64_t streams, channels, height, width;
  int64_t stride_stream, stride_channel, stride_row;
} RaccordGaussian;

RACCORD_EXPORT int32_t raccord_gaussian(const RaccordGaussian* params, int32_t level);

#ifdef __cplusplus
}
#endif

#endif
