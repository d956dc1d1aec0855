// Products of any number of rows with matrices of 16 bits.
//
// Activations are rounded to bf16. Each output is one chain of fused multiply-adds in fp32 over pairs of inputs, the
// odd input of a pair before the even one, denormals taken for zero: what VDPBF16PS does, in Intel's manual and, tried
// bit for bit, on Zen 4. So every path below gives the same bits, and a row's result never depends on its company.
//
// A panel is 16 outputs wide: [pair of inputs][output][2] bf16, zeros where outputs or inputs end before it does.
#pragma once

#include "panels.h"

#include <algorithm>
#include <atomic>
#include <cmath>

namespace gearbox {

constexpr int kPairPanel = 16;                      // outputs side by side
constexpr int64_t kPairBytes = kPairPanel * 2 * 2;  // of a pair of inputs in a panel

inline int64_t pairs_of(int64_t inputs) { return (inputs + 1) / 2; }


#if defined(__AVX512BF16__)
constexpr PairPath kFastestPairs = PairPath::kDots;
#elif defined(__AVX512F__)
constexpr PairPath kFastestPairs = PairPath::kFma512;
#else
constexpr PairPath kFastestPairs = PairPath::kFma256;
#endif
inline std::atomic<PairPath> pair_path{kFastestPairs};  // of passes that begin; tests try the others

// A pair of activations, for fused multiply-adds and for VDPBF16PS.
struct FloatPair {
  float even, odd;
};
using Bf16Pair = uint32_t;  // the even one in the low half

struct PlainLanes {
  using Pair = FloatPair;
  static constexpr int kRows = 4, kPanels = 1;
  struct Sums {
    float of[kPairPanel];
  };
  struct Weights {
    float even[kPairPanel], odd[kPairPanel];
  };
  static Sums zero() { return {}; }
  static Weights load(const uint8_t* at) {
    uint16_t bits[2 * kPairPanel];
    std::memcpy(bits, at, sizeof bits);
    Weights w;
    for (int o = 0; o < kPairPanel; o++) {
      w.even[o] = bf16_to_float(bits[2 * o]);
      w.odd[o] = bf16_to_float(bits[2 * o + 1]);
    }
    return w;
  }
  static Sums add(Sums sums, const Weights& w, const Pair& x) {
    for (int o = 0; o < kPairPanel; o++) {
      sums.of[o] = std::fma(w.even[o], x.even, std::fma(w.odd[o], x.odd, sums.of[o]));
    }
    return sums;
  }
  static void store(const Sums& sums, float* to) { std::memcpy(to, sums.of, sizeof sums.of); }
};

struct Fma256Lanes {
  using Pair = FloatPair;
  static constexpr int kRows = 4, kPanels = 1;  // 8 sums, 4 registers of weights, 2 of activations: of 16
  struct Sums {
    __m256 low, high;
  };
  struct Weights {
    __m256 even_low, odd_low, even_high, odd_high;
  };
  static Sums zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
  static Weights load(const uint8_t* at) {
    const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
    const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at + 32));
    const __m256i odd = _mm256_set1_epi32(static_cast<int>(0xFFFF0000u));
    return {_mm256_castsi256_ps(_mm256_slli_epi32(low, 16)), _mm256_castsi256_ps(_mm256_and_si256(low, odd)),
            _mm256_castsi256_ps(_mm256_slli_epi32(high, 16)), _mm256_castsi256_ps(_mm256_and_si256(high, odd))};
  }
  static Sums add(const Sums& sums, const Weights& w, const Pair& x) {
    const __m256 even = _mm256_broadcast_ss(&x.even), odd = _mm256_broadcast_ss(&x.odd);
    return {_mm256_fmadd_ps(w.even_low, even, _mm256_fmadd_ps(w.odd_low, odd, sums.low)),
            _mm256_fmadd_ps(w.even_high, even, _mm256_fmadd_ps(w.odd_high, odd, sums.high))};
  }
  static void store(const Sums& sums, float* to) {
    _mm256_storeu_ps(to, sums.low);
    _mm256_storeu_ps(to + 8, sums.high);
  }
};

#if defined(__AVX512F__)
struct Fma512Lanes {
  using Pair = FloatPair;
  static constexpr int kRows = 12, kPanels = 2;  // 24 sums, 4 registers of weights, 2 of activations: of 32
  using Sums = __m512;
  struct Weights {
    __m512 even, odd;
  };
  static Sums zero() { return _mm512_setzero_ps(); }
  static Weights load(const uint8_t* at) {
    const __m512i both = _mm512_loadu_si512(at);
    const __m512i odd = _mm512_set1_epi32(static_cast<int>(0xFFFF0000u));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(both, 16)), _mm512_castsi512_ps(_mm512_and_si512(both, odd))};
  }
  static Sums add(Sums sums, const Weights& w, const Pair& x) {
    sums = _mm512_fmadd_ps(w.odd, _mm512_set1_ps(x.odd), sums);
    return _mm512_fmadd_ps(w.even, _mm512_set1_ps(x.even), sums);
  }
  static void store(Sums sums, float* to) { _mm512_storeu_ps(to, sums); }
};
#endif

#if defined(__AVX512BF16__)
struct DotLanes {
  using Pair = Bf16Pair;
  static constexpr int kRows = 8, kPanels = 3;  // 24 sums, 3 registers of weights, 1 of activations: of 32
  using Sums = __m512;
  using Weights = __m512i;
  static Sums zero() { return _mm512_setzero_ps(); }
  static Weights load(const uint8_t* at) { return _mm512_loadu_si512(at); }
  static Sums add(Sums sums, Weights w, const Pair& x) {
    return _mm512_dpbf16_ps(sums, reinterpret_cast<__m512bh>(w),
                            reinterpret_cast<__m512bh>(_mm512_set1_epi32(static_cast<int>(x))));
  }
  static void store(Sums sums, float* to) { _mm512_storeu_ps(to, sums); }
};
#endif

constexpr int64_t kPairsAhead = 2048;  // bytes of a panel that are on their way from memory

// M rows by P panels.
//   x: [pairs, M]
//   next: bytes from one panel to the next
//   out: [M, 16 · P]
template <typename Lanes, int M, int P>
void pair_tile(const uint8_t* weights, int64_t next, int64_t pairs, const typename Lanes::Pair* x, float* out) {
  typename Lanes::Sums sums[M * P];
  for (auto& each : sums) each = Lanes::zero();
  for (int64_t k = 0; k < pairs; k++, weights += kPairBytes, x += M) {
    typename Lanes::Weights w[P];
#pragma GCC unroll 4
    for (int p = 0; p < P; p++) {
      fetch(weights + p * next + kPairsAhead);
      w[p] = Lanes::load(weights + p * next);
    }
#pragma GCC unroll 12
    for (int m = 0; m < M; m++) {
#pragma GCC unroll 4
      for (int p = 0; p < P; p++) sums[m * P + p] = Lanes::add(sums[m * P + p], w[p], x[m]);
    }
  }
#pragma GCC unroll 12
  for (int m = 0; m < M; m++) {
#pragma GCC unroll 4
    for (int p = 0; p < P; p++) Lanes::store(sums[m * P + p], out + (m * P + p) * kPairPanel);
  }
}

// The same, of M rows or fewer.
template <typename Lanes, int M, int P>
void pair_rows(const uint8_t* weights, int64_t next, int64_t pairs, const typename Lanes::Pair* x, int rows,
               float* out) {
  if (rows == M) return pair_tile<Lanes, M, P>(weights, next, pairs, x, out);
  if constexpr (M > 1) pair_rows<Lanes, M - 1, P>(weights, next, pairs, x, rows, out);
}

// All rows by P panels.
template <typename Lanes, int P>
void pair_panels(const Matrix& w, int64_t panel, const Activations& a, int64_t rows, const Output& out) {
  const int64_t pairs = pairs_of(w.inputs), next = pairs * kPairBytes, first = panel * kPairPanel;
  const int64_t width = std::min<int64_t>(P * kPairPanel, w.outputs - first);
  const uint8_t* weights = w.data + panel * next;
  const typename Lanes::Pair* x = reinterpret_cast<const typename Lanes::Pair*>(a.pairs);
  alignas(64) float sums[Lanes::kRows * P * kPairPanel];
  for (int64_t row = 0; row < rows; row += Lanes::kRows) {
    const int here = static_cast<int>(std::min<int64_t>(Lanes::kRows, rows - row));
    pair_rows<Lanes, Lanes::kRows, P>(weights, next, pairs, x + row * pairs, here, sums);
    for (int m = 0; m < here; m++) {
      float* y = out.y + (row + m) * w.outputs + first;
      const float* sum = sums + m * P * kPairPanel;
      for (int64_t o = 0; o < width; o++) {
        float v = sum[o];
        if (w.bias) v += w.bias[first + o];
        y[o] = out.accumulate ? y[o] + v : v;
      }
    }
  }
}

template <typename Lanes>
[[gnu::noinline]] void pair_lanes(const Matrix& w, const Activations& a, int64_t rows, const Output& out, int64_t begin,
                                  int64_t end) {
  int64_t panel = begin;
  for (; panel + Lanes::kPanels <= end; panel += Lanes::kPanels)
    pair_panels<Lanes, Lanes::kPanels>(w, panel, a, rows, out);
  if constexpr (Lanes::kPanels > 1) {
    for (; panel < end; panel++) pair_panels<Lanes, 1>(w, panel, a, rows, out);
  }
}

// Denormals are zero while this lives, as they always are for VDPBF16PS.
class NoDenormals {
 public:
  NoDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | _MM_FLUSH_ZERO_ON | kDenormalsAreZero); }
  ~NoDenormals() { _mm_setcsr(before_); }
  NoDenormals(const NoDenormals&) = delete;
  NoDenormals& operator=(const NoDenormals&) = delete;

 private:
  static constexpr unsigned kDenormalsAreZero = 0x40;
  unsigned before_;
};

// One thread's share of a product.
inline void pairs_share(const Matrix& w, const Activations& a, int64_t rows, const Output& out, int thread,
                        int threads) {
  const int64_t panels = (static_cast<int64_t>(w.outputs) + kPairPanel - 1) / kPairPanel;
  const int64_t begin = panels * thread / threads, end = panels * (thread + 1) / threads;
  const NoDenormals flushed;
  switch (a.path) {
#if defined(__AVX512BF16__)
    case PairPath::kDots: return pair_lanes<DotLanes>(w, a, rows, out, begin, end);
#endif
#if defined(__AVX512F__)
    case PairPath::kFma512: return pair_lanes<Fma512Lanes>(w, a, rows, out, begin, end);
#endif
    case PairPath::kFma256: return pair_lanes<Fma256Lanes>(w, a, rows, out, begin, end);
    default: return pair_lanes<PlainLanes>(w, a, rows, out, begin, end);
  }
}

// How rows lie side by side: in blocks of so many, the last of what is left, each [pair of inputs][row of the block].
struct PairForm {
  int rows, bytes;  // bytes of a pair
};

template <typename Lanes>
constexpr PairForm kPairForm{Lanes::kRows, sizeof(typename Lanes::Pair)};

inline PairForm pair_form(PairPath path) {
  switch (path) {
#if defined(__AVX512BF16__)
    case PairPath::kDots: return kPairForm<DotLanes>;
#endif
#if defined(__AVX512F__)
    case PairPath::kFma512: return kPairForm<Fma512Lanes>;
#endif
    case PairPath::kFma256: return kPairForm<Fma256Lanes>;
    default: return kPairForm<PlainLanes>;
  }
}

// Eight activations rounded to bf16, as float_to_bf16 does, in the high halves of 32 bits; the low ones are 0.
inline __m256i rounded_to_bf16(__m256 v) {
  const __m256i bits = _mm256_castps_si256(v), one = _mm256_set1_epi32(1);
  const __m256i even = _mm256_add_epi32(_mm256_set1_epi32(0x7FFF), _mm256_and_si256(_mm256_srli_epi32(bits, 16), one));
  const __m256i high = _mm256_and_si256(_mm256_add_epi32(bits, even), _mm256_set1_epi32(static_cast<int>(0xFFFF0000u)));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
  return _mm256_blendv_epi8(high, _mm256_set1_epi32(0x7FC00000), nan);
}

// Four pairs of one row, `step` pairs apart.
inline void keep_four(__m256i rounded, int64_t step, FloatPair* to) {
  alignas(32) FloatPair pairs[4];
  _mm256_store_si256(reinterpret_cast<__m256i*>(pairs), rounded);
  for (int i = 0; i < 4; i++) to[i * step] = pairs[i];
}

inline void keep_four(__m256i rounded, int64_t step, Bf16Pair* to) {
  alignas(32) uint64_t pairs[4];
  _mm256_store_si256(reinterpret_cast<__m256i*>(pairs),
                     _mm256_or_si256(_mm256_srli_epi64(rounded, 32), _mm256_srli_epi32(rounded, 16)));
  for (int i = 0; i < 4; i++) to[i * step] = static_cast<Bf16Pair>(pairs[i]);
}

template <typename Pair>
void keep_pairs_of(const float* x, int64_t first, int64_t last, int64_t step, Pair* to) {
  int64_t k = first;
  for (; k + 8 <= last; k += 8) keep_four(rounded_to_bf16(_mm256_loadu_ps(x + k)), step, to + k / 2 * step);
  if (k == last) return;
  float rest[8] = {};
  std::copy(x + k, x + last, rest);
  alignas(32) Pair pairs[4];
  keep_four(rounded_to_bf16(_mm256_loadu_ps(rest)), 1, pairs);
  for (int64_t i = 0; i < pairs_of(last - k); i++) to[(k / 2 + i) * step] = pairs[i];
}

// Puts inputs [first, last) of a row, rounded, where the kernels look for them; last is even or the row's end.
//   x: the row
//   room: of all rows
inline void keep_pairs(const float* x, int64_t first, int64_t last, int64_t row, int64_t rows, int64_t inputs,
                       const PairForm& form, uint8_t* room) {
  const int64_t begin = row / form.rows * form.rows, step = std::min<int64_t>(form.rows, rows - begin);
  uint8_t* to = room + (begin * pairs_of(inputs) + row - begin) * form.bytes;
  if (form.bytes == sizeof(Bf16Pair)) {
    keep_pairs_of(x, first, last, step, reinterpret_cast<Bf16Pair*>(to));
  } else {
    keep_pairs_of(x, first, last, step, reinterpret_cast<FloatPair*>(to));
  }
}

// Brings one panel of a matrix [outputs, inputs] into its layout.
inline void pack_panel(const uint16_t* weights, int64_t outputs, int64_t inputs, int64_t panel, uint8_t* data) {
  const int64_t pairs = pairs_of(inputs), first = panel * kPairPanel;
  const int64_t width = std::min<int64_t>(kPairPanel, outputs - first);
  uint32_t* to = reinterpret_cast<uint32_t*>(data) + panel * pairs * kPairPanel;
  for (int64_t k = 0; k < inputs / 2; k++, to += kPairPanel) {
    for (int64_t o = 0; o < width; o++) std::memcpy(to + o, weights + (first + o) * inputs + 2 * k, sizeof(uint32_t));
    for (int64_t o = width; o < kPairPanel; o++) to[o] = 0;
  }
  if (inputs % 2 == 0) return;
  for (int64_t o = 0; o < kPairPanel; o++) to[o] = o < width ? weights[(first + o + 1) * inputs - 1] : 0;
}

// One row of an embedding.
inline void pairs_row(const Matrix& w, int64_t id, float* x) {
  const int64_t panel = id / kPairPanel * pairs_of(w.inputs) * kPairPanel + id % kPairPanel;
  const uint16_t* row = reinterpret_cast<const uint16_t*>(w.data) + 2 * panel;
  for (int64_t k = 0; k < w.inputs; k++) x[k] = bf16_to_float(row[k / 2 * 2 * kPairPanel + k % 2]);
}

}  // namespace gearbox
