// The product y = x Wᵀ of a few rows with a matrix of any kind, and rows made ready for it.
#pragma once

#include "bf16.h"
#include "pairs.h"
#include "panels.h"
#include "wide.h"

namespace gearbox {

template <int M>
void panel_rows(const Matrix& w, int panel, const Activations& a, int64_t row, const Output& out) {
  __m256 acc[M];
  const int groups = w.inputs / kGroup;
  const int64_t first = static_cast<int64_t>(panel) * kPanel;
  switch (w.kind) {
    case kInt4: int4_panel<M>(w.data + static_cast<int64_t>(panel) * groups * kInt4Bytes, groups, a, row, acc); break;
    case kNf4: nf4_panel<M>(w.data + static_cast<int64_t>(panel) * groups * kNf4Bytes, groups, a, row, acc); break;
    case kInt8: int8_panel<M>(w.data + static_cast<int64_t>(panel) * groups * kInt8Bytes, groups, a, row, acc); break;
    case kBf16:
    case kBf16Panels: __builtin_unreachable();  // multiply_share sends neither here
  }
  for (int m = 0; m < M; m++) {
    float* y = out.y + (row + m) * w.outputs + first;
    __m256 v = acc[m];
    if (w.scales) v = _mm256_mul_ps(v, _mm256_loadu_ps(w.scales + first));
    if (w.bias) v = _mm256_add_ps(v, _mm256_loadu_ps(w.bias + first));
    if (out.accumulate) v = _mm256_add_ps(v, _mm256_loadu_ps(y));
    _mm256_storeu_ps(y, v);
  }
}

// One thread's share of a product.
inline void multiply_share(const Matrix& w, const Activations& a, int64_t rows, const Output& out, int thread,
                           int threads) {
  if (w.kind == kBf16Panels) return pairs_share(w, a, rows, out, thread, threads);
  const int units = w.kind == kBf16 ? w.outputs : w.outputs / kPanel;
  const int begin = static_cast<int>(static_cast<int64_t>(units) * thread / threads);
  const int end = static_cast<int>(static_cast<int64_t>(units) * (thread + 1) / threads);
  if (w.kind == kBf16) return bf16_share(w, a, rows, out, begin, end);
  int unit = begin;
#if defined(GEARBOX_WIDE)
  if (w.kind == kInt4 || w.kind == kInt8) {
    for (; unit + 2 <= end; unit += 2) two_panels(w, unit, a, rows, out);
  }
#endif
  for (; unit < end; unit++) {
    int64_t row = 0;
    for (; row + 4 <= rows; row += 4) panel_rows<4>(w, unit, a, row, out);
    switch (rows - row) {
      case 3: panel_rows<3>(w, unit, a, row, out); break;
      case 2: panel_rows<2>(w, unit, a, row, out); break;
      case 1: panel_rows<1>(w, unit, a, row, out); break;
    }
  }
}

// Quantizes a row's groups, which are stored `step` apart. A value that is not finite makes its group's scale NaN, so
// that it cannot pass for a number further on.
inline void quantize_row(const float* x, int64_t groups, int64_t step, int8_t* codes, float* scales, float* sums,
                         int32_t* totals) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  for (int64_t i = 0, g = 0; i < groups; i++, g += step, x += kGroup, codes += step * kGroup) {
    __m256 v[4], top = _mm256_setzero_ps(), defect = _mm256_setzero_ps();
    for (int j = 0; j < 4; j++) {
      v[j] = _mm256_loadu_ps(x + 8 * j);
      top = _mm256_max_ps(_mm256_andnot_ps(sign, v[j]), top);
      defect = _mm256_add_ps(defect, _mm256_sub_ps(v[j], v[j]));
    }
    const float largest = maximum(top);
    const __m256 inverse = _mm256_set1_ps(largest > 1e-30f ? 127.0f / largest : 0.0f);
    __m256i q[4];
    for (int j = 0; j < 4; j++) q[j] = _mm256_cvtps_epi32(_mm256_mul_ps(v[j], inverse));
    const __m256i total = _mm256_add_epi32(_mm256_add_epi32(q[0], q[1]), _mm256_add_epi32(q[2], q[3]));
    const __m256i packed = _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes), _mm256_permutevar8x32_epi32(packed, order));
    scales[g] = largest / 127.0f + sum(defect);
    const float count = sum(_mm256_cvtepi32_ps(total));
    sums[g] = scales[g] * count;
    totals[g] = _mm_cvttss_si32(_mm_set_ss(count));
  }
}

// One row of an embedding: int8 or bf16 of either layout, which check_embedding sees to.
inline void lookup_row(const Matrix& w, int64_t id, float* x) {
  if (w.kind == kBf16) {
    const uint16_t* row = reinterpret_cast<const uint16_t*>(w.data) + id * w.inputs;
    for (int k = 0; k < w.inputs; k++) x[k] = bf16_to_float(row[k]);
    return;
  }
  if (w.kind == kBf16Panels) return pairs_row(w, id, x);
  const int64_t groups = w.inputs / kGroup;
  const uint8_t* panel = w.data + id / kPanel * groups * kInt8Bytes + id % kPanel * 4;
  for (int k = 0; k < w.inputs; k++) {
    const uint8_t code = panel[k / kGroup * kInt8Bytes + k % kGroup / 4 * 32 + k % 4];
    x[k] = static_cast<float>(static_cast<int8_t>(code)) * w.scales[id];
  }
}

}  // namespace gearbox
