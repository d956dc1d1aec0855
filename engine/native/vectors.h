// Registers of 256 and 512 bits under the same names, so that a kernel is written once.
//
// Narrow holds one panel of eight outputs, Wide two neighbouring panels. Dot products are of unsigned weights and signed
// activations, bytes, four neighbours added. Where the processor has VNNI, signed weights are made unsigned by adding
// 128, and 128 · Σ activations is taken off again: integers, so nothing is rounded.
#pragma once

#include "panels.h"

namespace gearbox {

#if defined(GEARBOX_WIDE) || (defined(__AVX512VNNI__) && defined(__AVX512VL__)) || defined(__AVXVNNI__)
#define GEARBOX_VNNI
#endif

struct Narrow {
  using Int = __m256i;
  using Float = __m256;
  static constexpr int kPanels = 1;
  static constexpr int kOutputs = kPanel;
  static constexpr int kBytes = 32;

  // A register of a panel's codes.
  static Int codes(const uint8_t* p, int64_t) { return load(p); }
  static Float halves(const uint8_t* p, int64_t) { return load_fp16(p); }
  static Int load(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static void store(uint8_t* p, Int v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
  static Float load(const float* p) { return _mm256_loadu_ps(p); }
  static void store(float* p, Float v) { _mm256_storeu_ps(p, v); }
  static Int none() { return _mm256_setzero_si256(); }
  static Int all(int32_t v) { return _mm256_set1_epi32(v); }
  static Float all(float v) { return _mm256_set1_ps(v); }
  static Int low_bits(Int v) { return _mm256_and_si256(v, _mm256_set1_epi8(15)); }
  static Int high_bits(Int v) { return low_bits(_mm256_srli_epi16(v, 4)); }
  static Int table(const int8_t* p) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static Int entries(Int table, Int code) { return _mm256_shuffle_epi8(table, code); }
  static Int times_128_plus(Int a, Int b) { return _mm256_add_epi32(_mm256_slli_epi32(a, 7), b); }
  static Float multiply(Float a, Float b) { return _mm256_mul_ps(a, b); }
  static Float add(Float a, Float b) { return _mm256_add_ps(a, b); }
  static Float multiply_add(Float a, Float b, Float c) { return _mm256_fmadd_ps(a, b, c); }
  static Float number(Int v) { return _mm256_cvtepi32_ps(v); }

#if defined(GEARBOX_VNNI)
  static Int dot(Int acc, Int u, Int s) {
#if defined(__AVX512VNNI__) && defined(__AVX512VL__)
    return _mm256_dpbusd_epi32(acc, u, s);
#else
    return _mm256_dpbusd_avx_epi32(acc, u, s);
#endif
  }
  static Int dot_u4(Int acc, Int u, Int s) { return dot(acc, u, s); }
  static Int finish_u4(Int acc) { return acc; }
  static Int unsigned_from(Int w) { return _mm256_xor_si256(w, _mm256_set1_epi8(-128)); }
  static Int start(int32_t offset) { return all(offset); }
  static Int dot_signed(Int acc, Int w, Int s) { return dot(acc, w, s); }
#else
  // The products of two neighbours meet in 16 bits first: 127 · 127 · 2 still fits, 255 · 127 · 2 would be cut off.
  static Int dot(Int acc, Int u, Int s) {
    return _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(u, s), _mm256_set1_epi16(1)));
  }
  // Of codes of 0 to 15 the sums stay in 16 bits, which a group's eight products fit: 8 · 2 · 15 · 127 < 2¹⁵.
  static Int dot_u4(Int acc, Int u, Int s) { return _mm256_add_epi16(acc, _mm256_maddubs_epi16(u, s)); }
  static Int finish_u4(Int acc) { return _mm256_madd_epi16(acc, _mm256_set1_epi16(1)); }
  static Int unsigned_from(Int w) { return w; }
  static Int start(int32_t) { return none(); }
  static Int dot_signed(Int acc, Int w, Int s) { return dot(acc, _mm256_abs_epi8(w), _mm256_sign_epi8(s, w)); }
#endif
};

#if defined(GEARBOX_WIDE)
struct Wide {
  using Int = __m512i;
  using Float = __m512;
  static constexpr int kPanels = 2;
  static constexpr int kOutputs = 2 * kPanel;
  static constexpr int kBytes = 64;

  // A register of each of two panels that lie `next` bytes apart.
  static Int codes(const uint8_t* p, int64_t next) {
    return _mm512_inserti64x4(_mm512_castsi256_si512(Narrow::load(p)), Narrow::load(p + next), 1);
  }
  static Float halves(const uint8_t* p, int64_t next) {
    return _mm512_insertf32x8(_mm512_castps256_ps512(load_fp16(p)), load_fp16(p + next), 1);
  }
  static Int load(const uint8_t* p) { return _mm512_loadu_si512(p); }
  static void store(uint8_t* p, Int v) { _mm512_storeu_si512(p, v); }
  static Float load(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, Float v) { _mm512_storeu_ps(p, v); }
  static Int none() { return _mm512_setzero_si512(); }
  static Int all(int32_t v) { return _mm512_set1_epi32(v); }
  static Float all(float v) { return _mm512_set1_ps(v); }
  static Int low_bits(Int v) { return _mm512_and_si512(v, _mm512_set1_epi8(15)); }
  static Int high_bits(Int v) { return low_bits(_mm512_srli_epi16(v, 4)); }
  static Int table(const int8_t* p) {
    return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static Int entries(Int table, Int code) { return _mm512_shuffle_epi8(table, code); }
  static Int times_128_plus(Int a, Int b) { return _mm512_add_epi32(_mm512_slli_epi32(a, 7), b); }
  static Float multiply(Float a, Float b) { return _mm512_mul_ps(a, b); }
  static Float add(Float a, Float b) { return _mm512_add_ps(a, b); }
  static Float multiply_add(Float a, Float b, Float c) { return _mm512_fmadd_ps(a, b, c); }
  static Float number(Int v) { return _mm512_cvtepi32_ps(v); }
  static Int dot(Int acc, Int u, Int s) { return _mm512_dpbusd_epi32(acc, u, s); }
  static Int dot_u4(Int acc, Int u, Int s) { return dot(acc, u, s); }
  static Int finish_u4(Int acc) { return acc; }
  static Int unsigned_from(Int w) { return _mm512_xor_si512(w, _mm512_set1_epi8(-128)); }
  static Int start(int32_t offset) { return all(offset); }
  static Int dot_signed(Int acc, Int w, Int s) { return dot(acc, w, s); }
};
#endif

#if defined(GEARBOX_WIDE)
using Broad = Wide;
#else
using Broad = Narrow;
#endif

// Four neighbouring codes of a row, for every output.
template <class V>
typename V::Int four(const int8_t* codes) {
  int32_t word;
  std::memcpy(&word, codes, 4);
  return V::all(word);
}

}  // namespace gearbox
