// Matrices of 4, 8 and 16 bits, and panels of 4 and 8 bits by a few rows.
//
// Activations are quantized to 8 bits, each row in groups of 32 with a scale of its own. The sums inside a
// group are integers, and groups are added in their order. So a row's result is the same to the last bit
// however many rows are computed beside it, by however many threads.
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

constexpr int kBlock = 8;  // quantized rows that lie together

// Rows of activations as they were, and quantized: in blocks of kBlock rows, the last of what is left, in each of which
// the same group of all rows stands side by side, so that kernels find it at places known beforehand.
struct Activations {
  const float* values;    // [rows, inputs]
  const int8_t* codes;    // of a block [inputs / 32, its rows, 32], −127 to 127
  const float* scales;    // of a block [inputs / 32, its rows]
  const float* sums;      // as scales: scale · Σ codes
  const int32_t* totals;  // as scales: Σ codes
  const void* pairs;      // rounded to bf16, in blocks as in pairs.h
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

#if (defined(__AVX512VNNI__) && defined(__AVX512VL__)) || defined(__AVXVNNI__)
#define GEARBOX_VNNI
#endif

// acc + the products of unsigned and signed bytes, four neighbours added. Without VNNI the products of two
// neighbours meet in 16 bits first: 127 · 127 · 2 still fits, 255 · 127 · 2 would be cut off.
inline __m256i dot4(__m256i acc, __m256i u, __m256i s) {
#if defined(__AVX512VNNI__) && defined(__AVX512VL__)
  return _mm256_dpbusd_epi32(acc, u, s);
#elif defined(__AVXVNNI__)
  return _mm256_dpbusd_avx_epi32(acc, u, s);
#else
  const __m256i pairs = _mm256_maddubs_epi16(u, s);
  return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
#endif
}

inline __m256i broadcast4(const int8_t* p) {
  int32_t word;
  std::memcpy(&word, p, 4);
  return _mm256_set1_epi32(word);
}

// acc + the products of codes of 0 to 15 with activations. Without VNNI the sums stay in 16 bits, which a
// group's eight products fit: 8 · 2 · 15 · 127 < 2¹⁵. Made 32-bit by finish_u4.
inline __m256i dot_u4(__m256i acc, __m256i u, __m256i s) {
#if defined(GEARBOX_VNNI)
  return dot4(acc, u, s);
#else
  return _mm256_add_epi16(acc, _mm256_maddubs_epi16(u, s));
#endif
}

inline __m256i finish_u4(__m256i acc) {
#if defined(GEARBOX_VNNI)
  return acc;
#else
  return _mm256_madd_epi16(acc, _mm256_set1_epi16(1));
#endif
}

// Register r of a block's codes, and register r + 4.
struct Codes {
  __m256i low, high;
};

inline Codes unpack(const uint8_t* block, int r) {
  const __m256i mask = _mm256_set1_epi8(15);
  const __m256i packed = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block + 32 * r));
  return {_mm256_and_si256(packed, mask), _mm256_and_si256(_mm256_srli_epi16(packed, 4), mask)};
}

template <int M>
void int4_panel(const uint8_t* block, int groups, const Activations& a, int64_t row, __m256* out) {
  const RowPlace at = place_of(row, a.rows, groups);
  const int8_t* codes = a.codes + at.group * kGroup;
  const float* scales = a.scales + at.group;
  const float* sums = a.sums + at.group;
  __m256 acc[M];
  for (int m = 0; m < M; m++) acc[m] = _mm256_setzero_ps();
  for (int g = 0; g < groups; g++, block += kInt4Bytes, codes += at.step * kGroup, scales += at.step, sums += at.step) {
    __m256i dot[M];
    for (int m = 0; m < M; m++) dot[m] = _mm256_setzero_si256();
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) {
      const Codes w = unpack(block, r);
#pragma GCC unroll 8
      for (int m = 0; m < M; m++) {
        dot[m] = dot_u4(dot[m], w.low, broadcast4(codes + m * kGroup + 4 * r));
        dot[m] = dot_u4(dot[m], w.high, broadcast4(codes + m * kGroup + 4 * r + 16));
      }
    }
    const __m256 scale = load_fp16(block + 128), minimum = load_fp16(block + 144);
#pragma GCC unroll 8
    for (int m = 0; m < M; m++) {
      const __m256 s = _mm256_mul_ps(scale, _mm256_broadcast_ss(scales + m));
      acc[m] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(finish_u4(dot[m])), s, acc[m]);
      acc[m] = _mm256_fmadd_ps(minimum, _mm256_broadcast_ss(sums + m), acc[m]);
    }
  }
  for (int m = 0; m < M; m++) out[m] = acc[m];
}

// The sixteen levels of NF4 (QLoRA, arXiv:2305.14314) in steps of 1 / 16256, as 128 · high + low with
// |high| ≤ 127 and low below 128: closer to the levels than bf16 comes.
struct Nf4Table {
  int8_t high[16];
  int8_t low[16];
};
constexpr float kNf4Step = 1.0f / 16256.0f;
extern Nf4Table nf4_table;

template <int M>
void nf4_panel(const uint8_t* block, int groups, const Activations& a, int64_t row, __m256* out) {
  const RowPlace at = place_of(row, a.rows, groups);
  const int8_t* codes = a.codes + at.group * kGroup;
  const float* scales = a.scales + at.group;
  const __m256i highs = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<__m128i*>(nf4_table.high)));
  const __m256i lows = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<__m128i*>(nf4_table.low)));
  __m256 acc[M];
  for (int m = 0; m < M; m++) acc[m] = _mm256_setzero_ps();
  for (int g = 0; g < groups; g++, block += kNf4Bytes, codes += at.step * kGroup, scales += at.step) {
    __m256i high[M], low[M];
    for (int m = 0; m < M; m++) high[m] = low[m] = _mm256_setzero_si256();
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) {
      const Codes w = unpack(block, r);
      for (int half = 0; half < 2; half++) {
        const __m256i code = half ? w.high : w.low;
        const __m256i upper = _mm256_shuffle_epi8(highs, code), lower = _mm256_shuffle_epi8(lows, code);
        const __m256i size = _mm256_abs_epi8(upper);
#pragma GCC unroll 8
        for (int m = 0; m < M; m++) {
          const __m256i four = broadcast4(codes + m * kGroup + 4 * r + 16 * half);
          high[m] = dot4(high[m], size, _mm256_sign_epi8(four, upper));
          low[m] = dot4(low[m], lower, four);
        }
      }
    }
    const __m256 scale = _mm256_mul_ps(load_fp16(block + 128), _mm256_set1_ps(kNf4Step));
#pragma GCC unroll 8
    for (int m = 0; m < M; m++) {
      const __m256i dot = _mm256_add_epi32(_mm256_slli_epi32(high[m], 7), low[m]);
      const __m256 s = _mm256_mul_ps(scale, _mm256_broadcast_ss(scales + m));
      acc[m] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), s, acc[m]);
    }
  }
  for (int m = 0; m < M; m++) out[m] = acc[m];
}

template <int M>
void int8_panel(const uint8_t* block, int groups, const Activations& a, int64_t row, __m256* out) {
  const RowPlace at = place_of(row, a.rows, groups);
  const int8_t* codes = a.codes + at.group * kGroup;
  const float* scales = a.scales + at.group;
  __m256 acc[M];
  for (int m = 0; m < M; m++) acc[m] = _mm256_setzero_ps();
  for (int g = 0; g < groups; g++, block += kInt8Bytes, codes += at.step * kGroup, scales += at.step) {
    __m256i dot[M];
    for (int m = 0; m < M; m++) dot[m] = _mm256_setzero_si256();
#pragma GCC unroll 8
    for (int r = 0; r < 8; r++) {
      const __m256i w = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block + 32 * r));
      const __m256i size = _mm256_abs_epi8(w);
#pragma GCC unroll 8
      for (int m = 0; m < M; m++)
        dot[m] = dot4(dot[m], size, _mm256_sign_epi8(broadcast4(codes + m * kGroup + 4 * r), w));
    }
#pragma GCC unroll 8
    for (int m = 0; m < M; m++)
      acc[m] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot[m]), _mm256_broadcast_ss(scales + m), acc[m]);
  }
  for (int m = 0; m < M; m++) out[m] = acc[m];
}

}  // namespace gearbox
