// Choosing the next token from logits: what engine/generation/sampling.py says, with the random numbers that torch's
// own generator would give.
#pragma once

#include "model.h"
#include "summary.h"

#include <chrono>
#include <vector>

namespace gearbox {

constexpr int32_t kMostWritten = 1 << 16;
constexpr int32_t kMostTop = 64;

// One text that is being written.
struct Sequence {
  int64_t* ids;  // the text, prompt included; room for `room` of them
  int64_t length, room;
  uint8_t* const* kv;  // as for a forward pass
  int64_t kv_length, kv_capacity;
  int32_t kv_in_int8;
  int32_t vocabulary;  // ids from here up are no tokens
  float temperature, top_p, penalty;
  int32_t top_k;
  uint8_t* generator;  // state of a torch.Generator of the CPU; read and moved on above temperature 0 only
  float frequency, presence;  // taken from the logits of what stands in ids from answer_start on: each time, and once
  int64_t answer_start;
  const int64_t* bias_ids;  // whose logits are changed, each once, and by how much
  const float* biases;
  int32_t n_biases;
  int32_t n_top;            // likeliest ids to tell of with each token
  const uint32_t* allowed;  // a bit for each id that may be chosen, the lowest first; null where all may
  int64_t* top_ids;         // n_top for each token written, the likeliest first; -1 where there are no more
  double* top_logprobs;
  const int64_t* stop_ids;
  int32_t n_stop_ids;
  int32_t most;                // tokens to write at most
  double seconds;              // no token is begun after so long
  const int32_t* interrupted;  // nor once this is not 0
  // of each token written: ln of its probability, entropy in nats, the largest logit minus the second, and when it was
  // there, in seconds of the monotonic clock
  double *logprobs, *entropies, *margins, *times;
  int32_t written;
  int32_t status;  // of its own, where the call itself went well: why nothing was written
};

// torch's mt19937, in the bytes that torch.Generator.get_state gives: the seed, then left, seeded, next and the state,
// a 64-bit word for each of its 32-bit numbers.
class Generator {
 public:
  static constexpr int kNumbers = 624, kStateBytes = 24 + 8 * kNumbers;

  explicit Generator(uint8_t* bytes) : bytes_(bytes) {
    std::memcpy(&left_, bytes + 8, 4);
    uint64_t word;
    std::memcpy(&word, bytes + 16, 8);
    next_ = static_cast<uint32_t>(word);
    for (int i = 0; i < kNumbers; i++) {
      std::memcpy(&word, bytes + 24 + 8 * i, 8);
      state_[i] = static_cast<uint32_t>(word);
    }
  }

  bool sound() const { return left_ >= 1 && left_ <= kNumbers && next_ <= kNumbers; }

  uint32_t draw() {
    if (--left_ == 0 || next_ >= kNumbers) renew();
    uint32_t y = state_[next_++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return y ^ (y >> 18);
  }

  // Uniform in [0, 1), of 53 bits.
  double uniform() {
    const uint64_t high = draw(), low = draw();
    return static_cast<double>(((high << 32) | low) & ((uint64_t{1} << 53) - 1)) * (1.0 / (uint64_t{1} << 53));
  }

  // Gives the state back to whom it was taken from.
  void keep() const {
    std::memcpy(bytes_ + 8, &left_, 4);
    uint64_t word = next_;
    std::memcpy(bytes_ + 16, &word, 8);
    for (int i = 0; i < kNumbers; i++) {
      word = state_[i];
      std::memcpy(bytes_ + 24 + 8 * i, &word, 8);
    }
  }

 private:
  static uint32_t twist(uint32_t u, uint32_t v) {
    return (((u & 0x80000000) | (v & 0x7fffffff)) >> 1) ^ (v & 1 ? 0x9908b0df : 0);
  }

  void renew() {
    left_ = kNumbers;
    next_ = 0;
    constexpr int m = 397;
    for (int i = 0; i < kNumbers - m; i++) state_[i] = state_[i + m] ^ twist(state_[i], state_[i + 1]);
    for (int i = kNumbers - m; i < kNumbers - 1; i++)
      state_[i] = state_[i + m - kNumbers] ^ twist(state_[i], state_[i + 1]);
    state_[kNumbers - 1] = state_[m - 1] ^ twist(state_[kNumbers - 1], state_[0]);
  }

  uint8_t* bytes_;
  uint32_t state_[kNumbers], next_;
  int32_t left_;
};

// The place of the largest, of equals the first; a NaN counts as larger than all.
inline int64_t first_largest(const float* values, int64_t count) {
  int64_t best = 0;
  for (int64_t begin = 0; begin < count; begin += 1024) {
    const int64_t end = std::min(begin + 1024, count);
    int64_t i = begin;
    const __m256 bar = _mm256_set1_ps(values[best]);
    __m256 above = _mm256_setzero_ps();
    for (; i + 8 <= end; i += 8)  // not (v ≤ bar): larger, or NaN
      above = _mm256_or_ps(above, _mm256_cmp_ps(_mm256_loadu_ps(values + i), bar, _CMP_NLE_UQ));
    const int64_t from = _mm256_movemask_ps(above) ? begin : i;
    for (int64_t j = from; j < end; j++) {
      if (values[j] != values[j]) return j;
      if (values[j] > values[best]) best = j;
    }
  }
  return best;
}

// The `count` largest of some values, the largest first, of equals the first. Returns how many there are above −∞.
inline int32_t largest_of(const float* values, int64_t n, int32_t count, int64_t* places) {
  int32_t found = 0;
  float bar = -std::numeric_limits<float>::infinity();
  for (int64_t begin = 0; begin < n; begin += 8) {
    const int64_t end = std::min(begin + 8, n);
    if (end - begin == 8 &&
        !_mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(values + begin), _mm256_set1_ps(bar), _CMP_GT_OQ)))
      continue;
    for (int64_t i = begin; i < end; i++) {
      if (!(values[i] > bar)) continue;
      int32_t at = found < count ? found++ : count - 1;
      for (; at > 0 && values[places[at - 1]] < values[i]; at--) places[at] = places[at - 1];
      places[at] = i;
      if (found == count) bar = values[places[count - 1]];
    }
  }
  return found;
}

// Chooses for one sequence; holds what it needs room for.
class Chooser {
 public:
  explicit Chooser(const Sequence& sequence)
      : of_(sequence),
        shaped_(sequence.temperature > 0 || adjusts() ? sequence.vocabulary : 0),
        counts_(discourages() ? sequence.vocabulary : 0) {
    if (sequence.temperature > 0) order_.reserve(sequence.vocabulary);
  }

  // Logits of `vocabulary` ids -> a token, appended to the text; `generator` may be null at temperature 0.
  Status choose(const float* logits, Sequence& to, Generator* generator) {
    const Summary summary = summarize(logits, of_.vocabulary);
    const float* scores = logits;
    if (adjusts()) scores = adjust(logits, to);
    int64_t token;
    if (of_.temperature > 0) {
      if (Status status = shape(scores)) return status;
      token = draw(*generator);
    } else {
      token = first_largest(scores, of_.vocabulary);
    }
    const int32_t at = to.written++;
    to.ids[to.length++] = token;
    to.logprobs[at] = static_cast<double>(logits[token]) - summary.log_sum;
    to.entropies[at] = summary.entropy > 0 || summary.entropy != summary.entropy ? summary.entropy : 0.0;
    to.margins[at] = static_cast<double>(summary.largest) - summary.second;
    tell_likeliest(logits, summary.log_sum, at, to);
    to.times[at] = seconds_now();
    return kDone;
  }

  static double seconds_now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  }

 private:
  bool discourages() const { return of_.frequency != 0.0f || of_.presence != 0.0f; }
  bool adjusts() const { return of_.penalty != 1.0f || discourages() || of_.n_biases || of_.allowed; }
  bool is_token(int64_t id) const { return 0 <= id && id < of_.vocabulary; }

  // What is chosen by, into shaped_: the logits after penalties and biases, −∞ for what is not allowed.
  const float* adjust(const float* logits, const Sequence& text) {
    std::copy(logits, logits + of_.vocabulary, shaped_.begin());
    if (of_.penalty != 1.0f) penalize(logits, text);
    if (discourages()) discourage(text);
    for (int32_t i = 0; i < of_.n_biases; i++) shaped_[of_.bias_ids[i]] += of_.biases[i];
    if (of_.allowed) forbid();
    return shaped_.data();
  }

  // CTRL's penalty (arXiv:1909.05858) on what stands in the text.
  void penalize(const float* logits, const Sequence& text) {
    for (int64_t i = 0; i < text.length; i++) {
      const int64_t id = text.ids[i];
      if (!is_token(id)) continue;
      shaped_[id] = logits[id] > 0 ? logits[id] / of_.penalty : logits[id] * of_.penalty;
    }
  }

  // OpenAI's penalties on what stands in the answer.
  void discourage(const Sequence& text) {
    for (int64_t i = of_.answer_start; i < text.length; i++)
      if (is_token(text.ids[i])) counts_[text.ids[i]]++;
    for (int64_t i = of_.answer_start; i < text.length; i++) {
      const int64_t id = text.ids[i];
      if (!is_token(id) || !counts_[id]) continue;  // counted already
      shaped_[id] -= of_.frequency * static_cast<float>(counts_[id]) + of_.presence;
      counts_[id] = 0;
    }
  }

  void forbid() {
    const float none = -std::numeric_limits<float>::infinity();
    for (int64_t begin = 0; begin < of_.vocabulary; begin += 32) {
      const uint32_t word = of_.allowed[begin / 32];
      if (word == ~uint32_t{0}) continue;
      const int64_t end = std::min<int64_t>(begin + 32, of_.vocabulary);
      for (int64_t i = begin; i < end; i++)
        if (!(word >> (i - begin) & 1)) shaped_[i] = none;
    }
  }

  void tell_likeliest(const float* logits, float log_sum, int32_t at, Sequence& to) const {
    if (!of_.n_top) return;
    int64_t* ids = to.top_ids + static_cast<int64_t>(at) * of_.n_top;
    double* logprobs = to.top_logprobs + static_cast<int64_t>(at) * of_.n_top;
    // a sum that is no number: there are no probabilities
    const int32_t found = log_sum == log_sum ? largest_of(logits, of_.vocabulary, of_.n_top, ids) : 0;
    for (int32_t i = 0; i < found; i++) logprobs[i] = static_cast<double>(logits[ids[i]]) - log_sum;
    std::fill(ids + found, ids + of_.n_top, int64_t{-1});
  }

  // Scores -> probabilities in shaped_: temperature, top-k, top-p.
  Status shape(const float* scores) {
    const int64_t count = of_.vocabulary;
    const float top = scores[first_largest(scores, count)];
    if (!std::isfinite(top)) return kNoNumbers;
    for (int64_t i = 0; i < count; i++) shaped_[i] = (scores[i] - top) / of_.temperature;
    const float none = -std::numeric_limits<float>::infinity();
    if (of_.top_k && of_.top_k < count) {
      order_.assign(shaped_.begin(), shaped_.end());
      std::nth_element(order_.begin(), order_.begin() + of_.top_k - 1, order_.end(), std::greater<float>());
      const float least = order_[of_.top_k - 1];  // ties with the k-th stay
      for (int64_t i = 0; i < count; i++) shaped_[i] = shaped_[i] < least ? none : shaped_[i];
    }
    double total = exponentials();
    if (of_.top_p < 1) total = keep_nucleus(total);
    for (int64_t i = 0; i < count; i++) shaped_[i] = static_cast<float>(shaped_[i] / total);
    return kDone;
  }

  // e to each of shaped_, in place; their sum.
  double exponentials() {
    const int64_t count = of_.vocabulary;
    double total = 0;
    int64_t i = 0;
    const __m256 lowest = _mm256_set1_ps(-87.0f);
    for (; i + 8 <= count; i += 8) {
      const __m256 x = _mm256_loadu_ps(shaped_.data() + i);
      const __m256 e = _mm256_and_ps(exponential(x), _mm256_cmp_ps(x, lowest, _CMP_GT_OQ));
      _mm256_storeu_ps(shaped_.data() + i, e);
      total += sum(e);
    }
    for (; i < count; i++) {
      shaped_[i] = shaped_[i] > -87.0f ? std::exp(shaped_[i]) : 0.0f;
      total += shaped_[i];
    }
    return total;
  }

  // Nucleus sampling (arXiv:1904.09751): the rest of shaped_ becomes 0. Returns the sum of what stays.
  double keep_nucleus(double total) {
    order_.clear();
    for (int64_t i = 0; i < of_.vocabulary; i++)
      if (shaped_[i] > 0) order_.push_back(shaped_[i]);
    // the likeliest first, as many as it takes; of equals the first
    std::make_heap(order_.begin(), order_.end());
    double before = 0, kept = 0;
    float least = 0;
    int64_t equals = 0;
    for (auto end = order_.end(); end != order_.begin(); --end) {
      if (equals && static_cast<float>(before / total) >= of_.top_p) break;
      std::pop_heap(order_.begin(), end);
      equals = *(end - 1) == least ? equals + 1 : 1;
      least = *(end - 1);
      before += least;
    }
    for (int64_t i = 0; i < of_.vocabulary; i++) {
      if (shaped_[i] < least || (shaped_[i] == least && equals-- <= 0)) shaped_[i] = 0.0f;
      kept += shaped_[i];
    }
    return kept;
  }

  // As torch.multinomial: the largest of p / e, where e is drawn from the exponential distribution for every id.
  int64_t draw(Generator& generator) {
    int64_t token = 0;
    float largest = -1.0f;
    for (int64_t i = 0; i < of_.vocabulary; i++) {
      const double u = generator.uniform();
      if (shaped_[i] <= 0) continue;
      const float ratio = shaped_[i] / static_cast<float>(-std::log1p(-u));
      if (ratio > largest) {
        largest = ratio;
        token = i;
      }
    }
    return token;
  }

  const Sequence of_;  // what is asked of each token
  std::vector<float> shaped_, order_;
  std::vector<int32_t> counts_;  // how often each token stands in the answer; 0 between two tokens
};

inline bool is_number(float v, float least) { return std::isfinite(v) && v >= least; }

inline Status check_biases(const Sequence& s) {
  if (s.n_biases < 0 || (s.n_biases && (!s.bias_ids || !s.biases))) return kNullPointer;
  if (misaligned(s.bias_ids, alignof(int64_t)) || misaligned(s.biases, alignof(float))) return kMisaligned;
  for (int32_t i = 0; i < s.n_biases; i++) {
    if (s.bias_ids[i] < 0 || s.bias_ids[i] >= s.vocabulary) return kUnknownToken;
    if (!std::isfinite(s.biases[i])) return kWrongNumber;
  }
  return kDone;
}

// Whether a token can be chosen and written down.
inline Status check_sequence(const Sequence& s) {
  if (!s.ids || !s.logprobs || !s.entropies || !s.margins || !s.times || !s.interrupted) return kNullPointer;
  if (s.n_stop_ids < 0 || (s.n_stop_ids && !s.stop_ids)) return kNullPointer;
  if (misaligned(s.ids, alignof(int64_t)) || misaligned(s.stop_ids, alignof(int64_t))) return kMisaligned;
  for (const double* out : {s.logprobs, s.entropies, s.margins, s.times})
    if (misaligned(out, alignof(double))) return kMisaligned;
  if (misaligned(s.interrupted, alignof(int32_t))) return kMisaligned;
  if (!in_range(s.most, kMostWritten) || s.length < 1 || s.room < s.length || s.most > s.room - s.length) return kNoRoom;
  if (!in_range(s.vocabulary, kMostFeatures)) return kWrongShape;
  if (!is_number(s.temperature, 0) || !is_number(s.top_p, 0) || !is_number(s.penalty, 0) || s.penalty == 0) return kWrongNumber;
  if (s.top_k < 0 || !(s.seconds >= 0)) return kWrongNumber;
  if (!std::isfinite(s.frequency) || !std::isfinite(s.presence)) return kWrongNumber;
  if (s.answer_start < 0 || s.answer_start > s.length) return kNoRoom;
  if (Status status = check_biases(s)) return status;
  if (s.n_top < 0 || s.n_top > kMostTop) return kWrongNumber;
  if (s.n_top && (!s.top_ids || !s.top_logprobs)) return kNullPointer;
  if (misaligned(s.top_ids, alignof(int64_t)) || misaligned(s.top_logprobs, alignof(double))) return kMisaligned;
  if (misaligned(s.allowed, alignof(uint32_t))) return kMisaligned;
  if (s.temperature > 0 && !s.generator) return kNullPointer;
  return kDone;
}

}  // namespace gearbox
