// The product y = x Wᵀ of any number of rows with a matrix of any kind, and rows made ready for it.
#pragma once

#include "bf16.h"
#include "pairs.h"
#include "panels.h"
#include "tiles.h"

#include <algorithm>
#include <array>
#include <utility>

namespace gearbox {

// How many rows of a block are one tile: as many as have their sums in registers.
template <class V>
constexpr int tile_rows(Kind kind) {
  return V::kPanels == 1 ? 4 : kind == kNf4 ? kBlock / 2 : kBlock;
}

template <class V, Kind kind, int M>
void packed_tile(const Matrix& w, int panel, const Activations& a, int64_t row, float* sums) {
  tile<V, Packed<V, kind>, M>(Packed<V, kind>(w, panel, 0), w.inputs / kGroup, Rows(a, row, 0), sums);
}

using Tile = void (*)(const Matrix&, int panel, const Activations&, int64_t row, float* sums);

// The tiles of 1, 2, 3 and more rows.
template <class V, Kind kind, int... M>
constexpr std::array<Tile, sizeof...(M)> packed_tiles(std::integer_sequence<int, M...>) {
  return {packed_tile<V, kind, M + 1>...};
}

// What becomes of a row's sums.
template <class V>
void finish(const Matrix& w, int panel, const float* sums, int64_t row, const Output& out) {
  const int64_t first = static_cast<int64_t>(panel) * kPanel;
  float* y = out.y + row * w.outputs + first;
  typename V::Float v = V::load(sums);
  if (w.scales) v = V::multiply(v, V::load(w.scales + first));
  if (w.bias) v = V::add(v, V::load(w.bias + first));
  if (out.accumulate) v = V::add(v, V::load(y));
  V::store(y, v);
}

// A few rows, by weights that are read from where they lie.
template <class V, Kind kind>
void few_rows(const Matrix& w, int panel, const Activations& a, int64_t begin, int64_t end, const Output& out) {
  constexpr int kRows = tile_rows<V>(kind);
  constexpr auto kTiles = packed_tiles<V, kind>(std::make_integer_sequence<int, kRows>());
  for (int64_t row = begin, next; row < end; row = next) {
    const int64_t block_end = row / kBlock * kBlock + kBlock;
    next = std::min({row + kRows, block_end, end});
    alignas(64) float sums[kRows * V::kOutputs] = {};
    kTiles[next - row - 1](w, panel, a, row, sums);
    for (int64_t r = row; r < next; r++) finish<V>(w, panel, sums + (r - row) * V::kOutputs, r, out);
  }
}

constexpr int kOpenGroups = 16;  // so many are opened at once: they and a block's share of rows stay in L1
constexpr int kNear = 120;       // rows, whole blocks, that stay in L2 while all panels are gone through
constexpr int kManyRows = 24;    // from so many on weights are opened, in registers of 512 bits: narrow ones gain nothing

// Whole blocks of rows, at most kNear.
template <class V, Kind kind>
void many_rows(const Matrix& w, int panel, const Activations& a, int64_t begin, int64_t end, const Output& out) {
  constexpr int kRows = tile_rows<V>(kind);
  static_assert(kBlock % kRows == 0 && kNear % kBlock == 0);
  alignas(64) uint8_t opened[kOpenGroups * Open<V, kind>::kBytes];
  alignas(64) float sums[kNear * V::kOutputs];
  const int groups = w.inputs / kGroup;
  std::fill_n(sums, (end - begin) * V::kOutputs, 0.0f);
  for (int from = 0; from < groups; from += kOpenGroups) {
    const int count = std::min(kOpenGroups, groups - from);
    open_groups<V, kind>(Packed<V, kind>(w, panel, from), count, opened);
    for (int64_t row = begin; row < end; row += kRows)
      tile<V, Open<V, kind>, kRows>(Open<V, kind>(opened), count, Rows(a, row, from),
                                    sums + (row - begin) * V::kOutputs);
  }
  for (int64_t row = begin; row < end; row++)
    finish<V>(w, panel, sums + (row - begin) * V::kOutputs, row, out);
}

// All rows of some panels.
template <class V, Kind kind>
void panels_share(const Matrix& w, int first, int last, const Activations& a, int64_t rows, const Output& out) {
  int64_t done = 0;
  if constexpr (V::kPanels > 1) {
    const int64_t whole = rows < kManyRows ? 0 : rows / kBlock * kBlock;
    for (; done < whole; done = std::min<int64_t>(done + kNear, whole))
      for (int panel = first; panel < last; panel += V::kPanels)
        many_rows<V, kind>(w, panel, a, done, std::min<int64_t>(done + kNear, whole), out);
  }
  for (int panel = first; panel < last; panel += V::kPanels) few_rows<V, kind>(w, panel, a, done, rows, out);
}

// Rows that one reading of the weights serves: of one more, they are read and unpacked once more.
inline int rows_together(Kind kind) {
  if (kind == kBf16) return kBf16Rows;
  if (kind == kBf16Panels) return pair_form(pair_path.load(std::memory_order_relaxed)).rows;
  return tile_rows<Broad>(kind);
}

// All rows of some panels; the last may stand alone.
template <Kind kind>
void groups_share(const Matrix& w, int first, int last, const Activations& a, int64_t rows, const Output& out) {
#if defined(GEARBOX_WIDE)
  const int paired = last - (last - first) % Wide::kPanels;
  panels_share<Wide, kind>(w, first, paired, a, rows, out);
  first = paired;
#endif
  if (first < last) panels_share<Narrow, kind>(w, first, last, a, rows, out);
}

// Some outputs of a product, from and to a whole panel.
inline void multiply_outputs(const Matrix& w, const Activations& a, int64_t rows, const Output& out, int begin,
                             int end) {
  const int first = begin / kPanel, last = end / kPanel;
  switch (w.kind) {
    case kInt4: return groups_share<kInt4>(w, first, last, a, rows, out);
    case kNf4: return groups_share<kNf4>(w, first, last, a, rows, out);
    case kInt8: return groups_share<kInt8>(w, first, last, a, rows, out);
    case kBf16: return bf16_share(w, a, rows, out, begin, end);
    case kBf16Panels: __builtin_unreachable();  // multiply_share does not send it here
  }
}

// One thread's share of a product.
inline void multiply_share(const Matrix& w, const Activations& a, int64_t rows, const Output& out, int thread,
                           int threads) {
  if (w.kind == kBf16Panels) return pairs_share(w, a, rows, out, thread, threads);
  const int each = w.kind == kBf16 ? 1 : Broad::kPanels * kPanel;
  const int64_t units = (w.outputs + each - 1) / each;
  const int begin = static_cast<int>(units * thread / threads) * each;
  const int end = std::min(static_cast<int>(units * (thread + 1) / threads) * each, w.outputs);
  multiply_outputs(w, a, rows, out, begin, end);
}

// Whether the same thread has the same outputs of both halves of a product: its share of their groups.
inline bool halves_meet(const Matrix& w) {
  return w.kind != kBf16 && w.kind != kBf16Panels && w.outputs / 2 % kGroup == 0;
}

// One thread's share of a product whose first and second halves meet later: the same outputs of both where that can be,
// so that they meet in one thread's cache, and need not wait for others.
inline void multiply_halves(const Matrix& w, const Activations& a, int64_t rows, const Output& out, int thread,
                            int threads) {
  if (!halves_meet(w)) return multiply_share(w, a, rows, out, thread, threads);
  const int half = w.outputs / 2;
  const int64_t units = half / kGroup;
  const int begin = static_cast<int>(units * thread / threads) * kGroup;
  const int end = static_cast<int>(units * (thread + 1) / threads) * kGroup;
  multiply_outputs(w, a, rows, out, begin, end);
  multiply_outputs(w, a, rows, out, half + begin, half + end);
}

// Quantizes at most eight groups of a row, which are stored `step` apart. A value that is not finite makes its group's
// scale NaN, so that it cannot pass for a number further on.
inline void quantize_eight(const float* x, int64_t groups, int64_t step, int8_t* codes, float* scales, float* sums,
                           int32_t* offsets) {
  const __m256 sign = _mm256_set1_ps(-0.0f), none = _mm256_setzero_ps();
  __m256 top[8], defect[8];
  for (int64_t i = 0; i < 8; i++) {
    top[i] = defect[i] = none;
    if (i >= groups) continue;
    for (int j = 0; j < 4; j++) {
      const __m256 v = _mm256_loadu_ps(x + kGroup * i + 8 * j);
      top[i] = _mm256_max_ps(_mm256_andnot_ps(sign, v), top[i]);
      defect[i] = _mm256_add_ps(defect[i], _mm256_sub_ps(v, v));
    }
  }
  const __m256 largest = maxima_of_eight(top), most = _mm256_set1_ps(127.0f);
  const __m256 scale = _mm256_add_ps(_mm256_div_ps(largest, most), sums_of_eight(defect));
  alignas(32) float inverses[8];
  const __m256 large = _mm256_cmp_ps(largest, _mm256_set1_ps(1e-30f), _CMP_GT_OQ);
  _mm256_store_ps(inverses, _mm256_and_ps(_mm256_div_ps(most, largest), large));
  __m256i totals[8];
  for (int64_t i = 0; i < 8; i++) {
    totals[i] = _mm256_setzero_si256();
    if (i >= groups) continue;
    const __m256 inverse = _mm256_broadcast_ss(inverses + i);
    __m256i q[4];
    for (int j = 0; j < 4; j++)
      q[j] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + kGroup * i + 8 * j), inverse));
    totals[i] = _mm256_add_epi32(_mm256_add_epi32(q[0], q[1]), _mm256_add_epi32(q[2], q[3]));
    const __m256i packed = _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes + kGroup * i * step),
                        _mm256_permutevar8x32_epi32(packed, order));
  }
  const __m256i count = sums_of_eight(totals);  // it may be anything beside a NaN
  alignas(32) float of_scales[8], of_sums[8];
  alignas(32) int32_t of_offsets[8];
  _mm256_store_ps(of_scales, scale);
  _mm256_store_ps(of_sums, _mm256_mul_ps(scale, _mm256_cvtepi32_ps(count)));
  _mm256_store_si256(reinterpret_cast<__m256i*>(of_offsets),
                     _mm256_slli_epi32(_mm256_sub_epi32(_mm256_setzero_si256(), count), 7));
  for (int64_t i = 0; i < groups; i++) {
    scales[i * step] = of_scales[i];
    sums[i * step] = of_sums[i];
    offsets[i * step] = of_offsets[i];
  }
}

// Quantizes a row's groups.
inline void quantize_row(const float* x, int64_t groups, int64_t step, int8_t* codes, float* scales, float* sums,
                         int32_t* offsets) {
  for (int64_t begin = 0; begin < groups; begin += 8) {
    const int64_t at = begin * step;
    quantize_eight(x + begin * kGroup, std::min<int64_t>(8, groups - begin), step, codes + at * kGroup, scales + at,
                   sums + at, offsets + at);
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
