// Matrices of 4, 8 and 16 bits, rows of activations, and how both lie in memory.
//
// A panel is 8 outputs wide. Of a group of 32 inputs it holds registers of 32 bytes, each with 4 inputs of
// every output side by side: byte 4·o + j is input 4·r + j of output o in register r.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace gearbox {

constexpr int kPanel = 8;   // outputs side by side
constexpr int kGroup = 32;  // inputs that share a scale

enum Kind : int32_t { kInt4 = 0, kNf4 = 1, kInt8 = 2, kBf16 = 3, kBf16Panels = 4 };

// Bytes of one group of one panel.
constexpr int kInt4Bytes = 160;  // 128 of codes, 8 fp16 scales, 8 fp16 minima
constexpr int kNf4Bytes = 144;   // 128 of codes, 8 fp16 absolute maxima
constexpr int kInt8Bytes = 256;  // codes; the scales stand apart, one an output

struct Matrix {
  Kind kind;
  int32_t outputs;
  int32_t inputs;
  const uint8_t* data;  // panels, each with its groups in order; bf16: [outputs, inputs], or as in pairs.h
  const float* scales;  // int8: [outputs]; else null
  const float* bias;    // [outputs] or null
};

// Quantized rows that lie together: as many as a tile of tiles.h has.
#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define GEARBOX_WIDE
constexpr int kBlock = 12;
#else
constexpr int kBlock = 4;
#endif

// What multiplies matrices of 16 bits, in pairs.h. All give the same bits; a later one is faster, where the processor
// has it.
enum class PairPath : int32_t { kPlain = 0, kFma256 = 1, kFma512 = 2, kDots = 3 };

// Rows of activations as they were, and quantized: in blocks of kBlock rows, the last of what is left, in each of which
// the same group of all rows stands side by side, so that kernels find it at places known beforehand.
struct Activations {
  const float* values;     // [rows, inputs]
  const int8_t* codes;     // of a block [inputs / 32, its rows, 32], −127 to 127
  const float* scales;     // of a block [inputs / 32, its rows]
  const float* sums;       // as scales: scale · Σ codes
  const int32_t* offsets;  // as scales: −128 · Σ codes
  const void* pairs;       // rounded to bf16, in blocks as in pairs.h
  PairPath path;           // what multiplies them: it decides those blocks
  int64_t rows, inputs;
};

// Where a row's first group stands in that order, and how many rows its block has: so far it is to the next group.
struct RowPlace {
  int64_t group, step;
};

inline RowPlace place_of(int64_t row, int64_t rows, int64_t groups) {
  const int64_t first = row / kBlock * kBlock, left = rows - first;
  return {first * groups + row - first, left < kBlock ? left : kBlock};
}

// Where y goes: bias and, if asked, what was there before are added.
struct Output {
  float* y;  // [rows, outputs]
  bool accumulate;
};

// Asks for memory before it is needed. Always inlined, as is all that does nothing else: the compiler would take it for
// a function that does nothing.
[[gnu::always_inline]] inline void fetch(const void* memory) { __builtin_prefetch(memory, 0, 2); }

inline float bf16_to_float(uint16_t bits) {
  uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &wide, 4);
  return value;
}

inline uint16_t float_to_bf16(float value) {  // to nearest, ties to even
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  if (value != value) return 0x7FC0;
  return static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

inline __m256 load_bf16(const uint16_t* p) {
  const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}

inline __m256 load_fp16(const uint8_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

inline float sum(__m256 v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

inline float maximum(__m256 v) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

// Lane i of the result is the sum of the lanes of v[i].
inline __m256 sums_of_eight(const __m256* v) {
  const __m256 a = _mm256_hadd_ps(_mm256_hadd_ps(v[0], v[1]), _mm256_hadd_ps(v[2], v[3]));
  const __m256 b = _mm256_hadd_ps(_mm256_hadd_ps(v[4], v[5]), _mm256_hadd_ps(v[6], v[7]));
  return _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
}

inline __m256i sums_of_eight(const __m256i* v) {
  const __m256i a = _mm256_hadd_epi32(_mm256_hadd_epi32(v[0], v[1]), _mm256_hadd_epi32(v[2], v[3]));
  const __m256i b = _mm256_hadd_epi32(_mm256_hadd_epi32(v[4], v[5]), _mm256_hadd_epi32(v[6], v[7]));
  return _mm256_add_epi32(_mm256_permute2x128_si256(a, b, 0x20), _mm256_permute2x128_si256(a, b, 0x31));
}

// The same of their maxima.
inline __m256 maxima_of_eight(const __m256* v) {
  __m256 fours[2];
  for (int i = 0; i < 2; i++) {
    const __m256* of = v + 4 * i;
    const __m256 a = _mm256_max_ps(_mm256_unpacklo_ps(of[0], of[1]), _mm256_unpackhi_ps(of[0], of[1]));
    const __m256 b = _mm256_max_ps(_mm256_unpacklo_ps(of[2], of[3]), _mm256_unpackhi_ps(of[2], of[3]));
    fours[i] = _mm256_max_ps(_mm256_shuffle_ps(a, b, 0x44), _mm256_shuffle_ps(a, b, 0xEE));
  }
  return _mm256_max_ps(_mm256_permute2f128_ps(fours[0], fours[1], 0x20),
                       _mm256_permute2f128_ps(fours[0], fours[1], 0x31));
}

}  // namespace gearbox
