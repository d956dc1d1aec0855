// Causal attention of many queries of one key-value head, to the very bits of attention.h.
//
// There a score is eight sums, one a lane, over every eighth dimension, which are added pair by pair. Here lanes are
// positions: keys are turned on their side, and the eight sums are made one after the other. Values are added position
// by position, as there, up to a query's own last and from its own first.
#pragma once

#include "attention.h"
#include "vectors.h"

namespace gearbox {

#if defined(GEARBOX_WIDE)
constexpr int kScoredTogether = 6;  // queries, whose sums fit the registers
constexpr int kValueRegisters = 4;  // of a position's value, by kWeighedTogether queries
#else
constexpr int kScoredTogether = 3;
constexpr int kValueRegisters = 2;
#endif
constexpr int kWeighedTogether = 6;
constexpr int kManyQueries = 64;     // at most so many are taken together
constexpr int kValuePositions = 32;  // values that are unpacked at once, and stay near
static_assert(16 % Broad::kOutputs == 0);

// Floats that a thread needs for many queries.
inline int64_t blocked_room(int64_t positions, int64_t dims) {
  return kManyQueries * (positions + 32) + dims * (Broad::kOutputs + kValuePositions);
}

// Rows of eight floats become columns, `step` apart.
inline void transpose_eight(const __m256* rows, float* out, int64_t step) {
  __m256 pairs[8], fours[8];
  for (int i = 0; i < 4; i++) {
    pairs[2 * i] = _mm256_unpacklo_ps(rows[2 * i], rows[2 * i + 1]);
    pairs[2 * i + 1] = _mm256_unpackhi_ps(rows[2 * i], rows[2 * i + 1]);
  }
  for (int i = 0; i < 2; i++) {
    const __m256 *low = pairs + 4 * i, *high = low + 2;
    fours[4 * i] = _mm256_shuffle_ps(low[0], high[0], 0x44);
    fours[4 * i + 1] = _mm256_shuffle_ps(low[0], high[0], 0xEE);
    fours[4 * i + 2] = _mm256_shuffle_ps(low[1], high[1], 0x44);
    fours[4 * i + 3] = _mm256_shuffle_ps(low[1], high[1], 0xEE);
  }
  for (int i = 0; i < 4; i++) {
    _mm256_storeu_ps(out + i * step, _mm256_permute2f128_ps(fours[i], fours[i + 4], 0x20));
    _mm256_storeu_ps(out + (i + 4) * step, _mm256_permute2f128_ps(fours[i], fours[i + 4], 0x31));
  }
}

// Keys of as many positions as a register has lanes -> [dims, positions]; zeros for those from `end` on.
template <typename Vector>
void turn_keys(const HeadCache& kv, int64_t position, int64_t end, int dims, float* turned) {
  for (int at = 0; at < Broad::kOutputs; at += 8) {
    Vector keys[8];
    for (int p = 0; p < 8; p++) keys[p] = Vector(kv.keys + std::min(position + at + p, end - 1) * kv.stride, dims);
    for (int d = 0; d < dims; d += 8) {
      __m256 rows[8];
      for (int p = 0; p < 8; p++) rows[p] = position + at + p < end ? keys[p].load(d) : _mm256_setzero_ps();
      transpose_eight(rows, turned + d * Broad::kOutputs + at, Broad::kOutputs);
    }
  }
}

// Scores of M queries with the positions of a register.
template <int M>
void score_positions(const Query* queries, const float* turned, int dims, float* scores, int64_t each) {
  using Float = Broad::Float;
  Float total[M], half[M];
#pragma GCC unroll 4
  for (int lane = 0; lane < 8; lane += 2) {
    Float even[M], odd[M];  // sums of every eighth dimension from `lane` on, and from the one after it
#pragma GCC unroll 8
    for (int m = 0; m < M; m++) even[m] = odd[m] = Broad::all(0.0f);
    for (int d = lane; d < dims; d += 8) {
      const Float first = Broad::load(turned + d * Broad::kOutputs);
      const Float second = Broad::load(turned + (d + 1) * Broad::kOutputs);
#pragma GCC unroll 8
      for (int m = 0; m < M; m++) {
        even[m] = Broad::multiply_add(Broad::all(queries[m].q[d]), first, even[m]);
        odd[m] = Broad::multiply_add(Broad::all(queries[m].q[d + 1]), second, odd[m]);
      }
    }
#pragma GCC unroll 8
    for (int m = 0; m < M; m++) {
      const Float pair = Broad::add(even[m], odd[m]);
      half[m] = lane % 4 ? Broad::add(half[m], pair) : pair;
      if (lane == 2) total[m] = half[m];
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < M; m++) Broad::store(scores + m * each, Broad::add(total[m], half[m]));
}

// Adds to M queries' outputs what positions count for them, of S registers of dimensions.
//   values: of position 0, `dims` apart
//   weights: of position 0, a query's `each` apart
template <int M, int S>
void weigh(const Query* queries, const float* values, int dims, int d, const float* weights, int64_t each,
           int64_t begin, int64_t end) {
  using Float = Broad::Float;
  Float acc[M][S];
  for (int m = 0; m < M; m++)
    for (int s = 0; s < S; s++) acc[m][s] = Broad::load(queries[m].out + d + s * Broad::kOutputs);
  for (int64_t j = begin; j < end; j++) {
    Float value[S];
    for (int s = 0; s < S; s++) value[s] = Broad::load(values + j * dims + d + s * Broad::kOutputs);
#pragma GCC unroll 8
    for (int m = 0; m < M; m++) {
      const Float p = Broad::all(weights[m * each + j]);
#pragma GCC unroll 4
      for (int s = 0; s < S; s++) acc[m][s] = Broad::multiply_add(p, value[s], acc[m][s]);
    }
  }
  for (int m = 0; m < M; m++)
    for (int s = 0; s < S; s++) Broad::store(queries[m].out + d + s * Broad::kOutputs, acc[m][s]);
}

// The same of all their dimensions.
template <int M>
void weigh_all(const Query* queries, const float* values, int dims, const float* weights, int64_t each, int64_t begin,
               int64_t end) {
  constexpr int kWide = kValueRegisters * Broad::kOutputs;
  int d = 0;
  for (; d + kWide <= dims; d += kWide) weigh<M, kValueRegisters>(queries, values, dims, d, weights, each, begin, end);
  for (; d < dims; d += 16) weigh<M, 16 / Broad::kOutputs>(queries, values, dims, d, weights, each, begin, end);
}

// Attention of `count` queries, in the order of their positions.
//   dims: of a head, a multiple of 16
//   room: blocked_room(positions, dims) floats
template <typename Vector>
void attend_many(const Query* queries, int64_t count, const HeadCache& kv, int dims, float* room) {
  int64_t begin = queries[0].first;
  const int64_t end = queries[count - 1].last + 1;
  for (int64_t i = 1; i < count; i++) begin = std::min(begin, queries[i].first);
  begin &= ~int64_t{7};
  const int64_t each = (end - begin + 31) & ~int64_t{15};
  float *turned = room, *values = turned + dims * Broad::kOutputs, *scores = values + dims * kValuePositions;

  for (int64_t j = begin; j < end; j += Broad::kOutputs) {
    turn_keys<Vector>(kv, j, end, dims, turned);
    for (int64_t i = 0; i < count; i += kScoredTogether) {
      const int64_t taken = std::min<int64_t>(kScoredTogether, count - i);
      if (queries[i + taken - 1].last < j) continue;
      float* here = scores + i * each + j - begin;
      if (taken == kScoredTogether) {
        score_positions<kScoredTogether>(queries + i, turned, dims, here, each);
      } else {
        for (int64_t m = 0; m < taken; m++) score_positions<1>(queries + i + m, turned, dims, here + m * each, each);
      }
    }
  }

  float share[kManyQueries];
  const float scale = 1.0f / std::sqrt(static_cast<float>(dims));
  for (int64_t i = 0; i < count; i++) {
    share[i] = softmax(queries[i], begin, queries[i].last + 1, scale, scores + i * each);
    std::fill_n(queries[i].out, dims, 0.0f);
  }

  for (int64_t j = begin; j < end; j += kValuePositions) {
    const int64_t stop = std::min(j + kValuePositions, end);
    for (int64_t p = j; p < stop; p++) {
      const Vector value(kv.values + p * kv.stride, dims);
      for (int d = 0; d < dims; d += 8) _mm256_storeu_ps(values + (p - j) * dims + d, value.load(d));
    }
    for (int64_t i = 0; i < count; i += kWeighedTogether) {
      const int64_t taken = std::min<int64_t>(kWeighedTogether, count - i);
      const Query* group = queries + i;
      const float* weights = scores + i * each + j - begin;
      // positions that all of them see, and before and after them those that some see
      int64_t from = j, to = stop;
      for (int64_t m = 0; m < taken; m++) {
        from = std::max(from, group[m].first);
        to = std::min(to, group[m].last + 1);
      }
      const bool together = taken == kWeighedTogether && from < to;
      const auto alone = [&](int64_t first, int64_t last) {
        for (int64_t m = 0; m < taken; m++) {
          const int64_t b = std::max(first, group[m].first), e = std::min(last, group[m].last + 1);
          if (b < e) weigh_all<1>(group + m, values, dims, weights + m * each, each, b - j, e - j);
        }
      };
      if (together) {
        alone(j, from);
        weigh_all<kWeighedTogether>(group, values, dims, weights, each, from - j, to - j);
        alone(to, stop);
      } else {
        alone(j, stop);
      }
    }
  }
  for (int64_t i = 0; i < count; i++)
    for (int d = 0; d < dims; d++) queries[i].out[d] *= share[i];
}

}  // namespace gearbox
