// Causal attention of a few queries over a KV cache in bf16 or int8, computed in fp32.
//
// The order of the additions depends on a query's position alone, so that its result does not depend on what
// is computed beside it.
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

// Keys and values of one head in one layer's cache.
struct HeadCache {
  const uint8_t* keys;    // of position 0
  const uint8_t* values;  // of position 0
  int64_t stride;         // bytes from one position to the next
};

// A key or a value as it is kept: bf16.
class Bf16Vector {
 public:
  static int64_t bytes(int dims) { return 2 * static_cast<int64_t>(dims); }
  Bf16Vector() = default;
  Bf16Vector(const uint8_t* at, int) : at_(reinterpret_cast<const uint16_t*>(at)) {}
  __m256 load(int d) const { return load_bf16(at_ + d); }

  static void keep(const float* v, int dims, uint8_t* at) {
    for (int i = 0; i < dims; i++) reinterpret_cast<uint16_t*>(at)[i] = float_to_bf16(v[i]);
  }

 private:
  const uint16_t* at_ = nullptr;
};

// A key or a value as it is kept: int8 codes, and behind them their scale in fp32.
class Int8Vector {
 public:
  static int64_t bytes(int dims) { return dims + static_cast<int64_t>(sizeof(float)); }
  Int8Vector() = default;
  Int8Vector(const uint8_t* at, int dims) : at_(at) {
    float scale;
    std::memcpy(&scale, at + dims, sizeof scale);
    scale_ = _mm256_set1_ps(scale);
  }
  __m256 load(int d) const {
    const __m128i codes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(at_ + d));
    return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(codes)), scale_);
  }

  static void keep(const float* v, int dims, uint8_t* at) {
    float largest = 0;
    for (int i = 0; i < dims; i++) largest = std::max(largest, std::fabs(v[i]));
    const float scale = largest / 127, inverse = largest > 0 ? 127 / largest : 0;
    for (int i = 0; i < dims; i++) at[i] = static_cast<uint8_t>(static_cast<int8_t>(std::nearbyint(v[i] * inverse)));
    std::memcpy(at + dims, &scale, sizeof scale);
  }

 private:
  const uint8_t* at_ = nullptr;
  __m256 scale_ = _mm256_setzero_ps();
};

// A query and what it sees.
struct Query {
  const float* q;       // [head_dim]
  int64_t first, last;  // positions, both included
  float* out;           // [head_dim]
};

constexpr int64_t kQueries = 4;  // at most so many share one reading of the keys and values
constexpr int kAhead = 16;       // positions whose keys and values are on their way from memory

inline int64_t score_room(int64_t positions) { return kQueries * (positions + 16); }

// Lanes whose position a query does not see.
inline __m256 unseen(const Query& query, int64_t position) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i here = _mm256_add_epi32(lane, _mm256_set1_epi32(static_cast<int>(position)));
  const __m256i before = _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(query.first)), here);
  const __m256i after = _mm256_cmpgt_epi32(here, _mm256_set1_epi32(static_cast<int>(query.last)));
  return _mm256_castsi256_ps(_mm256_or_si256(before, after));
}

// Whether a query sees all of eight positions.
inline bool sees_all(const Query& query, int64_t position) {
  return query.first <= position && position + 7 <= query.last;
}

// Scores of one query in place -> what each position counts; returns 1 / their sum.
inline float softmax(const Query& query, int64_t begin, int64_t end, float scale, float* scores) {
  const __m256 none = _mm256_set1_ps(-std::numeric_limits<float>::infinity());
  __m256 top = none;
  for (int64_t j = begin; j < end; j += 8) {
    __m256 s = _mm256_mul_ps(_mm256_loadu_ps(scores + j - begin), _mm256_set1_ps(scale));
    if (!sees_all(query, j)) s = _mm256_blendv_ps(s, none, unseen(query, j));
    _mm256_storeu_ps(scores + j - begin, s);
    top = _mm256_max_ps(s, top);
  }
  const __m256 largest = _mm256_set1_ps(maximum(top));
  __m256 total = _mm256_setzero_ps();
  for (int64_t j = begin; j < end; j += 8) {
    __m256 p = exponential(_mm256_sub_ps(_mm256_loadu_ps(scores + j - begin), largest));
    if (!sees_all(query, j)) p = _mm256_andnot_ps(unseen(query, j), p);
    _mm256_storeu_ps(scores + j - begin, p);
    total = _mm256_add_ps(total, p);
  }
  return 1.0f / sum(total);
}

// Asks for a key or a value: a head's lie too far from one another for the processor to guess.
[[gnu::always_inline]] inline void fetch_vector(const uint8_t* vector, int64_t bytes) {
  for (int64_t at = 0; at < bytes; at += 64) fetch(vector + at);
}

// Attention of Q queries of one key-value head; Q is 1, 2 or 4. Blocks of eight positions begin at multiples
// of eight, so that a position's lane does not depend on who else is computed.
//   dims: of a head, a multiple of 16
//   scores: score_room(positions) floats
template <int Q, typename Vector>
void attend(const Query* queries, const HeadCache& kv, int dims, float* scores) {
  constexpr int kPositions = 8 / Q;
  int64_t begin = queries[0].first, end = queries[0].last + 1;
  for (int i = 1; i < Q; i++) {
    begin = std::min(begin, queries[i].first);
    end = std::max(end, queries[i].last + 1);
  }
  begin &= ~int64_t{7};
  const int64_t each = (end - begin + 15) & ~int64_t{7};
  for (int64_t j = begin; j < end; j += kPositions) {
    __m256 dots[8];
    for (int i = 0; i < 8; i++) dots[i] = _mm256_setzero_ps();
    Vector keys[kPositions];
#pragma GCC unroll 8
    for (int p = 0; p < kPositions; p++) keys[p] = Vector(kv.keys + std::min(j + p, end - 1) * kv.stride, dims);
    for (int p = 0; p < kPositions; p++) {
      const int64_t next = std::min(j + p + kAhead, end - 1) * kv.stride;
      fetch_vector(kv.keys + next, Vector::bytes(dims));
      fetch_vector(kv.values + next, Vector::bytes(dims));
    }
    for (int d = 0; d < dims; d += 8) {
#pragma GCC unroll 8
      for (int p = 0; p < kPositions; p++) {
        const __m256 key = keys[p].load(d);
#pragma GCC unroll 8
        for (int i = 0; i < Q; i++)
          dots[i * kPositions + p] = _mm256_fmadd_ps(_mm256_loadu_ps(queries[i].q + d), key, dots[i * kPositions + p]);
      }
    }
    alignas(32) float sums[8];
    _mm256_store_ps(sums, sums_of_eight(dots));
    for (int i = 0; i < Q; i++) std::memcpy(scores + i * each + j - begin, sums + i * kPositions, 4 * kPositions);
  }
  float share[Q];
  const float scale = 1.0f / std::sqrt(static_cast<float>(dims));
  for (int i = 0; i < Q; i++) share[i] = softmax(queries[i], begin, end, scale, scores + i * each);
  for (int d = 0; d < dims; d += 16) {
    __m256 acc[2 * Q];
    for (int i = 0; i < 2 * Q; i++) acc[i] = _mm256_setzero_ps();
    for (int64_t j = begin; j < end; j++) {
      const Vector value(kv.values + j * kv.stride, dims);
      const __m256 low = value.load(d), high = value.load(d + 8);
#pragma GCC unroll 8
      for (int i = 0; i < Q; i++) {
        const __m256 p = _mm256_broadcast_ss(scores + i * each + j - begin);
        acc[2 * i] = _mm256_fmadd_ps(p, low, acc[2 * i]);
        acc[2 * i + 1] = _mm256_fmadd_ps(p, high, acc[2 * i + 1]);
      }
    }
    for (int i = 0; i < Q; i++) {
      _mm256_storeu_ps(queries[i].out + d, _mm256_mul_ps(acc[2 * i], _mm256_set1_ps(share[i])));
      _mm256_storeu_ps(queries[i].out + d + 8, _mm256_mul_ps(acc[2 * i + 1], _mm256_set1_ps(share[i])));
    }
  }
}

}  // namespace gearbox
