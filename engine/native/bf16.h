// Products with matrices of 16 bits.
#pragma once

#include "panels.h"

namespace gearbox {

// Asks for the same inputs of the next O outputs, every other time: a cache line holds 32.
template <int O>
[[gnu::always_inline]] inline void fetch_next(const uint16_t* weights, int64_t inputs, int k) {
  if (k % 32) return;
  for (int o = 0; o < O; o++) fetch(weights + (o + O) * inputs + k);
}

// O outputs of a 16-bit matrix by M rows. Two sums for each, whatever O and M are, so that a result never depends
// on its company.
template <int O, int M>
void bf16_block(const Matrix& w, int output, const Activations& a, int64_t row, const Output& out) {
  const uint16_t* weights = reinterpret_cast<const uint16_t*>(w.data) + static_cast<int64_t>(output) * w.inputs;
  const float* x = a.values + row * a.inputs;
  __m256 acc[O * M][2];
  for (auto& sums : acc) sums[0] = sums[1] = _mm256_setzero_ps();
  int k = 0;
  for (; k + 16 <= w.inputs; k += 16) {
    fetch_next<O>(weights, w.inputs, k);
#pragma GCC unroll 2
    for (int half = 0; half < 2; half++) {
      __m256 weight[O];
#pragma GCC unroll 4
      for (int o = 0; o < O; o++) weight[o] = load_bf16(weights + static_cast<int64_t>(o) * w.inputs + k + 8 * half);
#pragma GCC unroll 4
      for (int m = 0; m < M; m++) {
        const __m256 value = _mm256_loadu_ps(x + m * a.inputs + k + 8 * half);
#pragma GCC unroll 4
        for (int o = 0; o < O; o++) acc[o * M + m][half] = _mm256_fmadd_ps(weight[o], value, acc[o * M + m][half]);
      }
    }
  }
  for (int o = 0; o < O; o++) {
    for (int m = 0; m < M; m++) {
      float total = sum(_mm256_add_ps(acc[o * M + m][0], acc[o * M + m][1]));
      for (int i = k; i < w.inputs; i++)
        total += bf16_to_float(weights[static_cast<int64_t>(o) * w.inputs + i]) * x[m * a.inputs + i];
      if (w.bias) total += w.bias[output + o];
      float* y = out.y + (row + m) * w.outputs + output + o;
      *y = out.accumulate ? *y + total : total;
    }
  }
}

#if defined(__AVX512VL__)
constexpr int kBf16Rows = 4;  // 32 registers hold the sums of 2 outputs by 4 rows
#else
constexpr int kBf16Rows = 2;
#endif

// All rows of O outputs: the weights are read from memory once, and stay near for the rows after the first.
template <int O>
void bf16_rows(const Matrix& w, int output, const Activations& a, int64_t rows, const Output& out) {
  int64_t row = 0;
  for (; row + kBf16Rows <= rows; row += kBf16Rows) bf16_block<O, kBf16Rows>(w, output, a, row, out);
  switch (rows - row) {
    case 3: bf16_block<O, 3>(w, output, a, row, out); break;
    case 2: bf16_block<O, 2>(w, output, a, row, out); break;
    case 1: bf16_block<O, 1>(w, output, a, row, out); break;
  }
}

inline void bf16_share(const Matrix& w, const Activations& a, int64_t rows, const Output& out, int begin, int end) {
  int output = begin;
  if (rows == 1) {  // as many weights at once as hide the adders' latency
    for (; output + 4 <= end; output += 4) bf16_block<4, 1>(w, output, a, 0, out);
  }
  for (; output + 2 <= end; output += 2) bf16_rows<2>(w, output, a, rows, out);
  for (; output < end; output++) bf16_rows<1>(w, output, a, rows, out);
}

}  // namespace gearbox
