// What is told of a token's logits: log Σ exp, entropy, and the two largest, in two passes over them.
#pragma once

#include "attention.h"

namespace gearbox {

struct Summary {
  float log_sum, entropy, largest, second;
};

// NaN anywhere makes log_sum and entropy NaN; −inf counts as a probability of 0.
inline Summary summarize(const float* logits, int64_t count) {
  const float none = -std::numeric_limits<float>::infinity();
  __m256 first = _mm256_set1_ps(none), second = first, defect = _mm256_setzero_ps();
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m256 v = _mm256_loadu_ps(logits + i);
    second = _mm256_max_ps(_mm256_min_ps(v, first), second);
    first = _mm256_max_ps(v, first);
    defect = _mm256_or_ps(defect, _mm256_cmp_ps(v, v, _CMP_UNORD_Q));
  }
  alignas(32) float lanes[16];
  _mm256_store_ps(lanes, first);
  _mm256_store_ps(lanes + 8, second);
  float largest = none, next = none;
  const auto consider = [&](float v) {
    next = std::max(next, std::min(v, largest));
    largest = std::max(largest, v);
  };
  for (float lane : lanes) consider(lane);
  bool whole = _mm256_movemask_ps(defect) == 0;
  for (int64_t j = i; j < count; j++) {
    consider(logits[j]);
    whole = whole && logits[j] == logits[j];
  }
  if (!whole) return {NAN, NAN, largest, next};
  const __m256 top = _mm256_set1_ps(largest), lowest = _mm256_set1_ps(-87.0f);
  // in double: 150,000 small terms would not add up in fp32
  double total = 0, weighted = 0;
  for (int64_t begin = 0; begin < i; begin += 1024) {
    __m256 sums = _mm256_setzero_ps(), products = sums;
    for (int64_t j = begin; j < std::min(begin + 1024, i); j += 8) {
      const __m256 x = _mm256_max_ps(_mm256_sub_ps(_mm256_loadu_ps(logits + j), top), lowest);
      const __m256 e = _mm256_and_ps(exponential(x), _mm256_cmp_ps(x, lowest, _CMP_GT_OQ));
      sums = _mm256_add_ps(sums, e);
      products = _mm256_fmadd_ps(e, x, products);
    }
    total += sum(sums);
    weighted += sum(products);
  }
  for (int64_t j = i; j < count; j++) {
    const float x = logits[j] - largest;
    if (x <= -87.0f) continue;
    total += std::exp(x);
    weighted += std::exp(x) * x;
  }
  // H = log Σ eˣ − Σ eˣ·x / Σ eˣ
  const double log_total = std::log(total);
  return {static_cast<float>(largest + log_total), static_cast<float>(log_total - weighted / total), largest, next};
}

}  // namespace gearbox
