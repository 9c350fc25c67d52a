// The C interface of libraccord: pointers, sizes and strides (in elements), no torch. The Python side checks every
// argument before it takes a pointer; nothing is checked again here, except the instruction-set level.
#ifndef RACCORD_H
#define RACCORD_H

#include <stdint.h>

// Raise it with any change of a signature, a struct or a meaning below, here and in kernels/_native.py.
#define RACCORD_ABI 4

#define RACCORD_EXPORT __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

enum { RACCORD_OK = 0, RACCORD_BAD_LEVEL = 1, RACCORD_NO_MEMORY = 2 };

// Instruction-set levels; what runs one runs those below it. Every function gives the same bits at every level, except
// attention in bfloat16 at AVX512BF16 and AMX, where products are of bfloat16 numbers, each adding them up in an order of
// its own. All else is computed by AVX-512 there.
enum {
  RACCORD_BEST = -1,
  RACCORD_SCALAR = 0,
  RACCORD_AVX2 = 1,
  RACCORD_AVX512 = 2,
  RACCORD_AVX512BF16 = 3,
  RACCORD_AMX = 4
};

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

// Guidance, step and noise in one pass (kernels/guided_step/__init__.py defines its bits). All float tensors are
// [rows, channels, height, width], contiguous; `out` may be `sample`.
typedef struct RaccordGuidedStep {
  float* out;
  const float* sample;
  const float* uncond;
  const float* cond;
  const float* guidance;       // a scale, or a map [height, width], for each row
  const double* coefficients;  // seven for each row
  const int64_t* stream_rows;  // [rows, 5] as in RaccordGaussian, or null
  const float* table;          // as in RaccordGaussian
  const float* noise;          // noise given, where stream_rows is null; or null
  int64_t rows, channels, height, width;
  int64_t guidance_stride, coefficients_stride;  // from row to row; 0 when the rows share them
  int64_t guidance_is_map;
} RaccordGuidedStep;

RACCORD_EXPORT int32_t raccord_guided_step(const RaccordGuidedStep* params, int32_t level);

// One segment of a row. `keys` and `values` are offsets into the panels, in elements. Panels are of float32:
//   keys    [heads, head_width, tokens rounded up to 16]
//   values  [heads, tokens, head_width rounded up to 16]
// or, paired, of bfloat16 in blocks of [16, 16, 2], as they are multiplied (depth / 2, column, depth % 2):
//   keys    [heads, tokens / 16, head_width / 32, 16, 16, 2]
//   values  [heads, head_width / 16, tokens / 32, 16, 16, 2]
// with sizes rounded up and zeros beyond the tokens and the head width.
typedef struct RaccordSpan {
  int64_t tokens;  // 0 = absent
  int64_t keys;
  int64_t values;
} RaccordSpan;

// Regional cross-attention (kernels/regional_attention/__init__.py). Elements of a query are adjacent; `out`, `weight`,
// `bias` and both lse are contiguous. float32, or bfloat16 for query and out.
typedef struct RaccordRegionalAttention {
  void* out;          // [rows, positions, heads, head_width]
  const void* query;  // the same shape
  const void* panels;
  const RaccordSpan* spans;  // [rows, segments]
  const float* weight;       // [rows, segments, positions]
  const float* bias;         // log of weight; only read when joint
  float* lse_heads;          // [rows, heads, segments, positions] to work in, or null: no lse
  float* lse;                // [rows, segments, positions], or null
  int64_t rows, positions, heads, head_width, segments;
  int64_t stride_row, stride_position, stride_head;
  int64_t joint, bfloat16, paired, threads;  // paired: only with bfloat16, from AVX512BF16 on
  float scale;
} RaccordRegionalAttention;

RACCORD_EXPORT int32_t raccord_regional_attention(const RaccordRegionalAttention* params, int32_t level);

// Entity attention (kernels/entity_attention/__init__.py). All tensors are contiguous. float32, or bfloat16 for out,
// query, key, value and the bank.
typedef struct RaccordEntityAttention {
  void* out;                     // [rows, positions, heads, head_width]
  const void* query;             // likewise, and key and value
  const void* key;
  const void* value;
  const uint8_t* owner;          // [rows, positions], below kinds
  const uint8_t* visible;        // [rows, kinds, kinds], 0 or 1
  const void* bank_key;          // [bank tokens, heads, head_width]
  const void* bank_value;        // likewise
  const int32_t* bank_segments;  // [rows, kinds - 1, 2]: start, length
  int64_t rows, positions, heads, head_width, kinds;
  int64_t bfloat16, threads;
  float scale, bank_bias;        // bank_bias: log of the bank's weight, -infinity = unseen
} RaccordEntityAttention;

RACCORD_EXPORT int32_t raccord_entity_attention(const RaccordEntityAttention* params, int32_t level);

#ifdef __cplusplus
}
#endif

#endif
