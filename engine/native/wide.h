// Two neighbouring panels at once, in registers of 512 bits, where the processor has them.
//
// Every output goes through the same sums in the same order as in panels.h, and is the same to the last bit.
#pragma once

#include "panels.h"

#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512DQ__)
#define GEARBOX_WIDE

namespace gearbox {

// 32 bytes of each of two panels that lie `next` bytes apart.
inline __m512i both(const uint8_t* p, int64_t next) {
  return _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))),
                            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + next)), 1);
}

inline __m512 both_fp16(const uint8_t* p, int64_t next) {
  return _mm512_insertf32x8(_mm512_castps256_ps512(load_fp16(p)), load_fp16(p + next), 1);
}

// Asks for a group of each of the next two panels: a processor that is at work on several rows does not look so far
// ahead by itself, and of two places it reads from by turns it follows neither well.
template <int bytes>
[[gnu::always_inline]] inline void fetch_ahead(const uint8_t* block, int64_t next) {
  for (int at = 0; at < bytes; at += 64) {
    fetch(block + 2 * next + at);
    fetch(block + 3 * next + at);
  }
}

inline __m512i wide_broadcast4(const int8_t* p) {
  int32_t word;
  std::memcpy(&word, p, 4);
  return _mm512_set1_epi32(word);
}

template <int M>
void int4_two_panels(const uint8_t* block, int groups, const Activations& a, int64_t row, __m512* out) {
  const int64_t next = static_cast<int64_t>(groups) * kInt4Bytes;
  const RowPlace at = place_of(row, a.rows, groups);
  const int8_t* codes = a.codes + at.group * kGroup;
  const float* scales = a.scales + at.group;
  const float* sums = a.sums + at.group;
  const __m512i mask = _mm512_set1_epi8(15);
  __m512 acc[M];
  for (int m = 0; m < M; m++) acc[m] = _mm512_setzero_ps();
  for (int g = 0; g < groups; g++, block += kInt4Bytes, codes += at.step * kGroup, scales += at.step, sums += at.step) {
    fetch_ahead<kInt4Bytes>(block, next);
    __m512i dot[M];
    for (int m = 0; m < M; m++) dot[m] = _mm512_setzero_si512();
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) {
      const __m512i packed = both(block + 32 * r, next);
      const __m512i low = _mm512_and_si512(packed, mask);
      const __m512i high = _mm512_and_si512(_mm512_srli_epi16(packed, 4), mask);
#pragma GCC unroll 8
      for (int m = 0; m < M; m++) {
        dot[m] = _mm512_dpbusd_epi32(dot[m], low, wide_broadcast4(codes + m * kGroup + 4 * r));
        dot[m] = _mm512_dpbusd_epi32(dot[m], high, wide_broadcast4(codes + m * kGroup + 4 * r + 16));
      }
    }
    const __m512 scale = both_fp16(block + 128, next), minimum = both_fp16(block + 144, next);
#pragma GCC unroll 8
    for (int m = 0; m < M; m++) {
      const __m512 s = _mm512_mul_ps(scale, _mm512_set1_ps(scales[m]));
      acc[m] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[m]), s, acc[m]);
      acc[m] = _mm512_fmadd_ps(minimum, _mm512_set1_ps(sums[m]), acc[m]);
    }
  }
  for (int m = 0; m < M; m++) out[m] = acc[m];
}

// Codes are made unsigned by adding 128, and 128 · Σ activations is taken off again: integers, so nothing is rounded.
template <int M>
void int8_two_panels(const uint8_t* block, int groups, const Activations& a, int64_t row, __m512* out) {
  const int64_t next = static_cast<int64_t>(groups) * kInt8Bytes;
  const RowPlace at = place_of(row, a.rows, groups);
  const int8_t* codes = a.codes + at.group * kGroup;
  const float* scales = a.scales + at.group;
  const int32_t* totals = a.totals + at.group;
  const __m512i top = _mm512_set1_epi8(-128);
  __m512 acc[M];
  for (int m = 0; m < M; m++) acc[m] = _mm512_setzero_ps();
  for (int g = 0; g < groups; g++, block += kInt8Bytes) {
    fetch_ahead<kInt8Bytes>(block, next);
    __m512i dot[M];
    for (int m = 0; m < M; m++) {
      const uint32_t total = static_cast<uint32_t>(totals[m]);  // unsigned: it may be anything beside a NaN
      dot[m] = _mm512_set1_epi32(static_cast<int32_t>(-128u * total));
    }
#pragma GCC unroll 8
    for (int r = 0; r < 8; r++) {
      const __m512i w = _mm512_xor_si512(both(block + 32 * r, next), top);
#pragma GCC unroll 8
      for (int m = 0; m < M; m++)
        dot[m] = _mm512_dpbusd_epi32(dot[m], w, wide_broadcast4(codes + m * kGroup + 4 * r));
    }
#pragma GCC unroll 8
    for (int m = 0; m < M; m++)
      acc[m] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[m]), _mm512_set1_ps(scales[m]), acc[m]);
    codes += at.step * kGroup, scales += at.step, totals += at.step;
  }
  for (int m = 0; m < M; m++) out[m] = acc[m];
}

template <int M>
void two_panels_rows(const Matrix& w, int panel, const Activations& a, int64_t row, const Output& out) {
  __m512 acc[M];
  const int groups = w.inputs / kGroup;
  const int64_t first = static_cast<int64_t>(panel) * kPanel;
  const int64_t skipped = static_cast<int64_t>(panel) * groups;
  switch (w.kind) {
    case kInt4: int4_two_panels<M>(w.data + skipped * kInt4Bytes, groups, a, row, acc); break;
    case kInt8: int8_two_panels<M>(w.data + skipped * kInt8Bytes, groups, a, row, acc); break;
    case kNf4:
    case kBf16:
    case kBf16Panels: __builtin_unreachable();  // multiply_share sends none of them here
  }
  for (int m = 0; m < M; m++) {
    float* y = out.y + (row + m) * w.outputs + first;
    __m512 v = acc[m];
    if (w.scales) v = _mm512_mul_ps(v, _mm512_loadu_ps(w.scales + first));
    if (w.bias) v = _mm512_add_ps(v, _mm512_loadu_ps(w.bias + first));
    if (out.accumulate) v = _mm512_add_ps(v, _mm512_loadu_ps(y));
    _mm512_storeu_ps(y, v);
  }
}

inline void two_panels(const Matrix& w, int panel, const Activations& a, int64_t rows, const Output& out) {
  int64_t row = 0;
  for (; row + 8 <= rows; row += 8) two_panels_rows<8>(w, panel, a, row, out);
  if (row + 4 <= rows) {
    two_panels_rows<4>(w, panel, a, row, out);
    row += 4;
  }
  switch (rows - row) {
    case 3: two_panels_rows<3>(w, panel, a, row, out); break;
    case 2: two_panels_rows<2>(w, panel, a, row, out); break;
    case 1: two_panels_rows<1>(w, panel, a, row, out); break;
  }
}

}  // namespace gearbox

#endif
