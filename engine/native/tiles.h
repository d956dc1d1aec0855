// Products of a tile of rows with one register of outputs, over any stretch of groups.
//
// Activations are quantized to 8 bits, each row in groups of 32 with a scale of its own. The sums inside a group are
// integers, and groups are added in their order. So a row's result is the same to the last bit however many rows are
// computed beside it, in registers of any width, by however many threads.
//
// Weights come from where they lie, or, for many rows, from a copy that stays near the processor: opened once, a byte
// a weight, in registers as the products want them. Of a group it holds codes of the inputs 0 to 3 of every output,
// then 4 to 7 and so on, as tiles of AMX would want them too.
#pragma once

#include "vectors.h"

namespace gearbox {

// The sixteen levels of NF4 (QLoRA, arXiv:2305.14314) in steps of 1 / 16256, as 128 · high + low with
// |high| ≤ 127 and low below 128: closer to the levels than bf16 comes.
struct Nf4Table {
  int8_t high[16];
  int8_t low[16];
};
constexpr float kNf4Step = 1.0f / 16256.0f;
extern Nf4Table nf4_table;

constexpr int group_bytes(Kind kind) { return kind == kInt4 ? kInt4Bytes : kind == kNf4 ? kNf4Bytes : kInt8Bytes; }

// Codes of the inputs 4r to 4r + 3 of every output, and of those 16 further on.
template <class V>
struct Codes {
  typename V::Int low, high;
};

// The same of nf4: both parts of their levels.
template <class V>
struct Levels {
  Codes<V> upper, lower;
};

// A group of weights where it lies: at `block`, and of the panel beside it `next` bytes further on.
template <class V, Kind kind>
class Packed {
 public:
  static constexpr Kind kKind = kind;

  Packed(const Matrix& w, int panel, int group)
      : next_(static_cast<int64_t>(w.inputs / kGroup) * group_bytes(kind)),
        block_(w.data + panel * next_ + static_cast<int64_t>(group) * group_bytes(kind)) {
    if constexpr (kind == kNf4) {
      highs_ = V::unsigned_from(V::table(nf4_table.high));
      lows_ = V::table(nf4_table.low);
    }
  }

  void advance() { block_ += group_bytes(kind); }

  // Asks for a group of each of the next two panels: a processor that is at work on several rows does not look so far
  // ahead by itself, and of two places it reads from by turns it follows neither well.
  [[gnu::always_inline]] void fetch_ahead() const {
    if constexpr (V::kPanels == 2) {
      for (int at = 0; at < group_bytes(kind); at += 64) {
        fetch(block_ + 2 * next_ + at);
        fetch(block_ + 3 * next_ + at);
      }
    }
  }

  Codes<V> codes(int r) const {
    if constexpr (kind == kInt8) {
      return {V::unsigned_from(V::codes(block_ + 32 * r, next_)),
              V::unsigned_from(V::codes(block_ + 32 * (r + 4), next_))};
    } else {
      const typename V::Int both = V::codes(block_ + 32 * r, next_);
      return {V::low_bits(both), V::high_bits(both)};
    }
  }

  Levels<V> levels(int r) const {
    const Codes<V> code = codes(r);
    return {{V::entries(highs_, code.low), V::entries(highs_, code.high)},
            {V::entries(lows_, code.low), V::entries(lows_, code.high)}};
  }

  typename V::Float scale() const {
    const typename V::Float halves = V::halves(block_ + 128, next_);
    return kind == kNf4 ? V::multiply(halves, V::all(kNf4Step)) : halves;
  }
  typename V::Float minimum() const { return V::halves(block_ + 144, next_); }

 private:
  int64_t next_;
  const uint8_t* block_;
  typename V::Int highs_, lows_;  // of nf4
};

// A group of weights that has been opened: eight registers of codes, or of nf4 eight of upper and eight of lower parts
// of levels; then what 4 bits have of scales and minima.
template <class V, Kind kind>
class Open {
 public:
  static constexpr Kind kKind = kind;
  static constexpr int kCodes = (kind == kNf4 ? 16 : 8) * V::kBytes;
  static constexpr int kBytes = kCodes + (kind == kInt4 ? 2 : kind == kNf4 ? 1 : 0) * V::kBytes;

  explicit Open(const uint8_t* at) : at_(at) {}
  void advance() { at_ += kBytes; }
  void fetch_ahead() const {}

  Codes<V> codes(int r) const { return {V::load(at_ + V::kBytes * r), V::load(at_ + V::kBytes * (r + 4))}; }
  Levels<V> levels(int r) const {
    return {codes(r), {V::load(at_ + V::kBytes * (r + 8)), V::load(at_ + V::kBytes * (r + 12))}};
  }
  typename V::Float scale() const { return V::load(reinterpret_cast<const float*>(at_ + kCodes)); }
  typename V::Float minimum() const { return V::load(reinterpret_cast<const float*>(at_ + kCodes + V::kBytes)); }

 private:
  const uint8_t* at_;
};

// Opens groups of the outputs that a register holds.
template <class V, Kind kind>
void open_groups(Packed<V, kind> w, int groups, uint8_t* out) {
  for (int g = 0; g < groups; g++, w.advance(), out += Open<V, kind>::kBytes) {
    w.fetch_ahead();
    for (int r = 0; r < 4; r++) {
      if constexpr (kind == kNf4) {
        const Levels<V> levels = w.levels(r);
        V::store(out + V::kBytes * r, levels.upper.low);
        V::store(out + V::kBytes * (r + 4), levels.upper.high);
        V::store(out + V::kBytes * (r + 8), levels.lower.low);
        V::store(out + V::kBytes * (r + 12), levels.lower.high);
      } else {
        const Codes<V> codes = w.codes(r);
        V::store(out + V::kBytes * r, codes.low);
        V::store(out + V::kBytes * (r + 4), codes.high);
      }
    }
    float* scales = reinterpret_cast<float*>(out + Open<V, kind>::kCodes);
    if constexpr (kind != kInt8) V::store(scales, w.scale());
    if constexpr (kind == kInt4) V::store(scales + V::kOutputs, w.minimum());
  }
}

// Some rows of a block, from one of its groups on.
struct Rows {
  const int8_t* codes;
  const float* scales;
  const float* sums;
  const int32_t* offsets;
  int64_t step;

  Rows(const Activations& a, int64_t row, int64_t group) {
    const RowPlace at = place_of(row, a.rows, a.inputs / kGroup);
    const int64_t first = at.group + group * at.step;
    codes = a.codes + first * kGroup;
    scales = a.scales + first;
    sums = a.sums + first;
    offsets = a.offsets + first;
    step = at.step;
  }

  void advance() { codes += step * kGroup, scales += step, sums += step, offsets += step; }
};

// Adds the products of M rows with some groups to sums [M, outputs of a register], group after group.
template <class V, class Weights, int M>
void tile(Weights w, int groups, Rows x, float* sums) {
  using Int = typename V::Int;
  using Float = typename V::Float;
  Float acc[M];
  for (int m = 0; m < M; m++) acc[m] = V::load(sums + m * V::kOutputs);
  for (int g = 0; g < groups; g++, w.advance(), x.advance()) {
    w.fetch_ahead();
    Int dot[M];
    if constexpr (Weights::kKind == kInt4) {
      for (int m = 0; m < M; m++) dot[m] = V::none();
#pragma GCC unroll 4
      for (int r = 0; r < 4; r++) {
        const Codes<V> codes = w.codes(r);
#pragma GCC unroll 16
        for (int m = 0; m < M; m++) dot[m] = V::dot_u4(dot[m], codes.low, four<V>(x.codes + m * kGroup + 4 * r));
#pragma GCC unroll 16
        for (int m = 0; m < M; m++) dot[m] = V::dot_u4(dot[m], codes.high, four<V>(x.codes + m * kGroup + 4 * r + 16));
      }
      const Float scale = w.scale(), minimum = w.minimum();
#pragma GCC unroll 16
      for (int m = 0; m < M; m++) {
        const Float both = V::multiply(scale, V::all(x.scales[m]));
        acc[m] = V::multiply_add(V::number(V::finish_u4(dot[m])), both, acc[m]);
        acc[m] = V::multiply_add(minimum, V::all(x.sums[m]), acc[m]);
      }
    } else if constexpr (Weights::kKind == kInt8) {
      for (int m = 0; m < M; m++) dot[m] = V::start(x.offsets[m]);
#pragma GCC unroll 4
      for (int r = 0; r < 4; r++) {
        const Codes<V> codes = w.codes(r);
#pragma GCC unroll 16
        for (int m = 0; m < M; m++) dot[m] = V::dot_signed(dot[m], codes.low, four<V>(x.codes + m * kGroup + 4 * r));
#pragma GCC unroll 16
        for (int m = 0; m < M; m++)
          dot[m] = V::dot_signed(dot[m], codes.high, four<V>(x.codes + m * kGroup + 4 * r + 16));
      }
#pragma GCC unroll 16
      for (int m = 0; m < M; m++) acc[m] = V::multiply_add(V::number(dot[m]), V::all(x.scales[m]), acc[m]);
    } else {
      Int low[M];
      for (int m = 0; m < M; m++) dot[m] = V::start(x.offsets[m]), low[m] = V::none();
#pragma GCC unroll 4
      for (int r = 0; r < 4; r++) {
        const Levels<V> levels = w.levels(r);
#pragma GCC unroll 16
        for (int m = 0; m < M; m++) {
          const Int first = four<V>(x.codes + m * kGroup + 4 * r), second = four<V>(x.codes + m * kGroup + 4 * r + 16);
          dot[m] = V::dot_signed(dot[m], levels.upper.low, first);
          low[m] = V::dot(low[m], levels.lower.low, first);
          dot[m] = V::dot_signed(dot[m], levels.upper.high, second);
          low[m] = V::dot(low[m], levels.lower.high, second);
        }
      }
      const Float scale = w.scale();
#pragma GCC unroll 16
      for (int m = 0; m < M; m++) {
        const Float both = V::multiply(scale, V::all(x.scales[m]));
        acc[m] = V::multiply_add(V::number(V::times_128_plus(dot[m], low[m])), both, acc[m]);
      }
    }
  }
  for (int m = 0; m < M; m++) V::store(sums + m * V::kOutputs, acc[m]);
}

}  // namespace gearbox
