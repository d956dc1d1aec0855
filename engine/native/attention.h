// Causal attention of one row and one head over a KV cache in bf16, computed in fp32.
//
// The order of the additions depends on the row's position alone, so that a row's result does not depend
// on what is computed beside it.
#pragma once

#include "matrix.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace gearbox {

// eˣ within two units in the last place, for x ≤ 88; 0 far below zero. Range reduction by powers of two and
// a polynomial of degree 6, the coefficients being those of the Taylor series.
inline __m256 exponential(__m256 x) {
  x = _mm256_max_ps(x, _mm256_set1_ps(-87.0f));
  x = _mm256_min_ps(x, _mm256_set1_ps(88.0f));
  const __m256 n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504f)), _MM_FROUND_TO_NEAREST_INT | 8);
  __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693145752f), x);
  r = _mm256_fnmadd_ps(n, _mm256_set1_ps(1.42860677e-6f), r);
  __m256 p = _mm256_set1_ps(1.0f / 720);
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 120));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 24));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 6));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.5f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
  const __m256i power = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
  return _mm256_mul_ps(p, _mm256_castsi256_ps(power));
}

// Lane i of the result is the sum of the lanes of v[i].
inline __m256 sums_of_eight(const __m256* v) {
  const __m256 a = _mm256_hadd_ps(_mm256_hadd_ps(v[0], v[1]), _mm256_hadd_ps(v[2], v[3]));
  const __m256 b = _mm256_hadd_ps(_mm256_hadd_ps(v[4], v[5]), _mm256_hadd_ps(v[6], v[7]));
  return _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
}

// Keys and values of one head in one layer's cache.
struct HeadCache {
  const uint16_t* keys;    // of position 0
  const uint16_t* values;  // of position 0
  int64_t stride;          // from one position to the next
};

// Writes [head_dim] to out. V is head_dim / 8.
//   first, last: the positions seen, both included
//   scores: room for last − first + 8 floats
template <int V>
void attend(const float* q, const HeadCache& kv, int64_t first, int64_t last, float scale, float* scores, float* out) {
  const int64_t count = last - first + 1;
  const __m256 lane = _mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7);
  __m256 top = _mm256_set1_ps(-std::numeric_limits<float>::infinity());
  for (int64_t j = 0; j < count; j += 8) {
    __m256 dots[8];
    for (int i = 0; i < 8; i++) {
      const uint16_t* key = kv.keys + (first + std::min(j + i, count - 1)) * kv.stride;
      __m256 acc = _mm256_mul_ps(_mm256_loadu_ps(q), load_bf16(key));
      for (int d = 1; d < V; d++) acc = _mm256_fmadd_ps(_mm256_loadu_ps(q + 8 * d), load_bf16(key + 8 * d), acc);
      dots[i] = acc;
    }
    __m256 s = _mm256_mul_ps(sums_of_eight(dots), _mm256_set1_ps(scale));
    const __m256 beyond = _mm256_cmp_ps(lane, _mm256_set1_ps(static_cast<float>(count - j)), _CMP_GE_OQ);
    s = _mm256_blendv_ps(s, _mm256_set1_ps(-std::numeric_limits<float>::infinity()), beyond);
    _mm256_storeu_ps(scores + j, s);
    top = _mm256_max_ps(s, top);
  }
  const __m256 largest = _mm256_set1_ps(maximum(top));
  __m256 total = _mm256_setzero_ps();
  for (int64_t j = 0; j < count; j += 8) {
    const __m256 beyond = _mm256_cmp_ps(lane, _mm256_set1_ps(static_cast<float>(count - j)), _CMP_GE_OQ);
    __m256 p = exponential(_mm256_sub_ps(_mm256_loadu_ps(scores + j), largest));
    p = _mm256_andnot_ps(beyond, p);
    _mm256_storeu_ps(scores + j, p);
    total = _mm256_add_ps(total, p);
  }
  __m256 acc[V];
  for (int d = 0; d < V; d++) acc[d] = _mm256_setzero_ps();
  for (int64_t j = 0; j < count; j++) {
    const __m256 p = _mm256_broadcast_ss(scores + j);
    const uint16_t* value = kv.values + (first + j) * kv.stride;
    for (int d = 0; d < V; d++) acc[d] = _mm256_fmadd_ps(p, load_bf16(value + 8 * d), acc[d]);
  }
  const __m256 share = _mm256_set1_ps(1.0f / sum(total));
  for (int d = 0; d < V; d++) _mm256_storeu_ps(out + 8 * d, _mm256_mul_ps(acc[d], share));
}

}  // namespace gearbox
