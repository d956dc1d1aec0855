// The forward pass of a llama-family decoder over rows of one or several sequences, on all threads at once.
//
// One parallel region holds the whole pass; phases are parted by a barrier that costs a fraction of a
// microsecond. Between the matrices everything is fp32; keys and values are rounded to bf16 or int8 as they are kept.
#pragma once

#include "blocked_attention.h"
#include "matrix.h"
#include "model.h"
#include "profile.h"
#include "segments.h"

#include <sched.h>

#include <atomic>
#include <memory>

namespace gearbox {

class Barrier {
 public:
  // Called by one thread before the others arrive.
  void expect(int threads) { threads_ = threads; }

  void wait() {
    const int phase = phase_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
      arrived_.store(0, std::memory_order_relaxed);
      phase_.store(phase + 1, std::memory_order_release);
      return;
    }
    for (int spins = 0; phase_.load(std::memory_order_acquire) == phase; spins++) {
      if (spins < kSpins) {
        _mm_pause();
      } else {
        sched_yield();  // somebody else wants this core: waiting on it would make both wait
      }
    }
  }

 private:
  static constexpr int kSpins = 4000;
  int threads_ = 1;
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<int> phase_{0};
};

struct Share {
  int64_t begin, end;
};

inline Share share_of(int64_t units, int thread, int threads) {
  return {units * thread / threads, units * (thread + 1) / threads};
}

struct FreeDeleter {
  void operator()(void* p) const { std::free(p); }
};

template <typename T>
std::unique_ptr<T[], FreeDeleter> room_for(int64_t count) {
  const size_t bytes = (static_cast<size_t>(count) * sizeof(T) + 127) / 64 * 64;
  return std::unique_ptr<T[], FreeDeleter>(static_cast<T*>(std::aligned_alloc(64, bytes)));
}

inline int64_t groups_in(int64_t width) { return (width + kGroup - 1) / kGroup; }

// Rows on their way into a matrix.
class Quantized {
 public:
  Quantized(int64_t rows, int64_t widest)
      : rows_(rows),
        path_(pair_path.load(std::memory_order_relaxed)),
        form_(pair_form(path_)),
        values_(room_for<float>(rows * widest)),
        codes_(room_for<int8_t>(rows * widest)),
        scales_(room_for<float>(rows * (widest / kGroup + 1))),
        sums_(room_for<float>(rows * (widest / kGroup + 1))),
        offsets_(room_for<int32_t>(rows * (widest / kGroup + 1))),
        pairs_(room_for<uint8_t>(rows * pairs_of(widest) * form_.bytes)) {}

  bool made() const { return values_ && codes_ && scales_ && sums_ && offsets_ && pairs_; }
  float* row(int64_t row, int64_t width) { return values_.get() + row * width; }

  // Quantizes groups [begin, end) of a row for a matrix of some kind, or rounds them. A width that has no whole groups
  // is not quantized.
  void quantize(Kind kind, int64_t row, int64_t width, int64_t begin, int64_t end) {
    if (kind == kBf16Panels) {
      const int64_t first = begin * kGroup, last = std::min(end * kGroup, width);
      return keep_pairs(values_.get() + row * width, first, last, row, rows_, width, form_, pairs_.get());
    }
    if (kind == kBf16 || width % kGroup) return;
    const RowPlace at = place_of(row, rows_, width / kGroup);
    const int64_t group = at.group + begin * at.step;
    quantize_row(values_.get() + row * width + begin * kGroup, end - begin, at.step, codes_.get() + group * kGroup,
                 scales_.get() + group, sums_.get() + group, offsets_.get() + group);
  }

  Activations view(int64_t width) const {
    return {values_.get(), codes_.get(), scales_.get(), sums_.get(), offsets_.get(), pairs_.get(), path_, rows_, width};
  }

 private:
  int64_t rows_;
  PairPath path_;  // the same to the end, whatever others ask for meanwhile
  PairForm form_;
  std::unique_ptr<float[], FreeDeleter> values_;
  std::unique_ptr<int8_t[], FreeDeleter> codes_;
  std::unique_ptr<float[], FreeDeleter> scales_, sums_;
  std::unique_ptr<int32_t[], FreeDeleter> offsets_;
  std::unique_ptr<uint8_t[], FreeDeleter> pairs_;
};

// x / √(mean x² + ε) · weight
inline void rms_norm(const float* x, const float* weight, int64_t width, float eps, float* out) {
  __m256 squares[4] = {};
  int64_t k = 0;
  for (; k + 32 <= width; k += 32) {
    for (int j = 0; j < 4; j++) {
      const __m256 v = _mm256_loadu_ps(x + k + 8 * j);
      squares[j] = _mm256_fmadd_ps(v, v, squares[j]);
    }
  }
  float total = sum(_mm256_add_ps(_mm256_add_ps(squares[0], squares[1]), _mm256_add_ps(squares[2], squares[3])));
  for (; k < width; k++) total += x[k] * x[k];
  const float scale = 1.0f / std::sqrt(total / static_cast<float>(width) + eps);
  for (k = 0; k < width; k++) out[k] = x[k] * scale * weight[k];
}

// RoPE (arXiv:2104.09864) in the half-split form.
inline void rotate(float* x, const float* cosine, const float* sine, int half) {
  for (int i = 0; i < half; i++) {
    const float a = x[i], b = x[i + half];
    x[i] = a * cosine[i] - b * sine[i];
    x[i + half] = b * cosine[i] + a * sine[i];
  }
}

// silu(gate) · up over some of a row's width, a multiple of 8
inline void gate(const float* gates, const float* ups, int64_t width, float* out) {
  int64_t k = 0;
  for (; k + 8 <= width; k += 8) {
    const __m256 g = _mm256_loadu_ps(gates + k);
    const __m256 e = exponential(_mm256_sub_ps(_mm256_setzero_ps(), g));
    const __m256 silu = _mm256_div_ps(g, _mm256_add_ps(_mm256_set1_ps(1.0f), e));
    _mm256_storeu_ps(out + k, _mm256_mul_ps(silu, _mm256_loadu_ps(ups + k)));
  }
  for (; k < width; k++) out[k] = gates[k] / (1.0f + std::exp(-gates[k])) * ups[k];
}

// What all threads share during one pass.
struct Pass {
  const Model& model;
  const Plan& plan;
  std::unique_ptr<float[], FreeDeleter> x, qkv, wide, cosines, sines, scores;
  Quantized input;
  std::vector<Quantized> own;  // of a single row, one for each thread
  std::atomic<int64_t> next_unit{0};
  Barrier barrier;

  Pass(const Model& m, const Plan& planned, int threads)
      : model(m),
        plan(planned),
        x(room_for<float>(planned.rows() * m.hidden)),
        qkv(room_for<float>(planned.rows() * qkv_width())),
        wide(room_for<float>(planned.rows() * 2 * m.inner)),
        cosines(room_for<float>(planned.rows() * m.head_dim)),
        sines(room_for<float>(planned.rows() * m.head_dim)),
        scores(room_for<float>(attention_room() * threads)),
        input(planned.rows(), widest()) {
    if (is_single()) own.reserve(threads);
    for (int thread = 0; is_single() && thread < threads; thread++) own.emplace_back(1, widest());
  }

  bool made() const {
    return x && qkv && wide && cosines && sines && scores && input.made() &&
           std::all_of(own.begin(), own.end(), [](const Quantized& each) { return each.made(); });
  }
  bool is_single() const { return plan.rows() == 1; }
  int64_t widest() const { return std::max({model.hidden, model.inner, model.n_heads * model.head_dim}); }
  // Floats that a thread needs to attend.
  int64_t attention_room() const {
    const bool many = plan.most_together() > kQueries;
    return many ? blocked_room(plan.longest(), model.head_dim) : score_room(plan.longest());
  }
  int64_t qkv_width() const { return static_cast<int64_t>(model.n_heads + 2 * model.n_kv_heads) * model.head_dim; }

  void run(int thread, int threads, float* hidden_out, const int64_t* ids);

 private:
  void normalize(const float* weight, const Share& rows_here, Kind next, Quantized& to);
  void keep(int layer, int thread, int threads);
  void attend_share(int layer, int thread, int threads);
  void attend_to(const Plan::Block& block, int layer, int kv_head, float* room);
  template <typename Vector>
  void attend_block(const Plan::Block& block, int layer, int kv_head, float* room);
};

inline void Pass::normalize(const float* weight, const Share& rows_here, Kind next, Quantized& to) {
  for (int64_t r = rows_here.begin; r < rows_here.end; r++) {
    rms_norm(x.get() + r * model.hidden, weight, model.hidden, model.norm_eps, to.row(r, model.hidden));
    to.quantize(next, r, model.hidden, 0, groups_in(model.hidden));
  }
}

// Norms and rotates queries and keys, and writes keys and values into the caches.
inline void Pass::keep(int i, int thread, int threads) {
  const Layer& layer = model.layers[i];
  const int dim = model.head_dim, half = dim / 2, rotated = model.n_heads + model.n_kv_heads;
  const Share units = share_of(plan.rows() * (rotated + model.n_kv_heads), thread, threads);
  for (int64_t unit = units.begin; unit < units.end; unit++) {
    const int64_t row = unit / (rotated + model.n_kv_heads);
    const int head = static_cast<int>(unit % (rotated + model.n_kv_heads));
    float* v = qkv.get() + row * qkv_width() + static_cast<int64_t>(head) * dim;
    if (head < rotated) {
      const float* norm = head < model.n_heads ? layer.q_norm : layer.k_norm;
      if (norm) rms_norm(v, norm, dim, model.norm_eps, v);
      rotate(v, cosines.get() + row * half, sines.get() + row * half, half);
    }
    if (head < model.n_heads) continue;
    const Plan::Row& at = plan.row(row);
    const int64_t place = at.position * 2 * model.n_kv_heads + head - model.n_heads;
    uint8_t* cache = at.segment->kv[i];
    if (at.segment->kv_in_int8) {
      Int8Vector::keep(v, dim, cache + place * Int8Vector::bytes(dim));
    } else {
      Bf16Vector::keep(v, dim, cache + place * Bf16Vector::bytes(dim));
    }
  }
}

// Queries that share a key-value head are taken together, those of neighbouring rows of a sequence too.
template <typename Vector>
void Pass::attend_block(const Plan::Block& block, int i, int kv_head, float* room) {
  const Layer& layer = model.layers[i];
  const int dim = model.head_dim, shared_by = model.n_heads / model.n_kv_heads;
  Query queries[kManyQueries];
  for (int64_t q = 0; q < block.count; q++) {
    const int64_t row = (block.begin + q) / shared_by, head = kv_head * shared_by + (block.begin + q) % shared_by;
    const int64_t last = block.segment->start + row;
    queries[q] = {qkv.get() + (block.row + row) * qkv_width() + head * dim,
                  layer.window ? std::max<int64_t>(0, last - layer.window + 1) : 0, last,
                  input.row(block.row + row, model.n_heads * dim) + head * dim};
  }
  const int64_t each = Vector::bytes(dim);
  const uint8_t* keys = block.segment->kv[i] + kv_head * each;
  const HeadCache kv_cache{keys, keys + model.n_kv_heads * each, 2 * model.n_kv_heads * each};
  if (block.count > kQueries) return attend_many<Vector>(queries, block.count, kv_cache, dim, room);
  if (block.count == 3) queries[3] = queries[2];
  switch (block.count) {
    case 1: attend<1, Vector>(queries, kv_cache, dim, room); break;
    case 2: attend<2, Vector>(queries, kv_cache, dim, room); break;
    default: attend<4, Vector>(queries, kv_cache, dim, room); break;
  }
}

inline void Pass::attend_to(const Plan::Block& block, int layer, int kv_head, float* room) {
  if (block.segment->kv_in_int8) {
    attend_block<Int8Vector>(block, layer, kv_head, room);
  } else {
    attend_block<Bf16Vector>(block, layer, kv_head, room);
  }
}

inline void Pass::attend_share(int layer, int thread, int threads) {
  float* room = scores.get() + thread * attention_room();
  if (is_single()) {  // neighbouring heads, so that few of the keys and values come to two threads
    const int64_t shared_by = model.n_heads / model.n_kv_heads;
    const Share heads = share_of(model.n_heads, thread, threads);
    for (int64_t head = heads.begin, count; head < heads.end; head += count) {
      const int64_t kv_head = head / shared_by, begin = head % shared_by;
      count = std::min({kQueries, heads.end - head, shared_by - begin});
      attend_to({plan.row(0).segment, 0, begin, count, plan.row(0).position}, layer, static_cast<int>(kv_head), room);
    }
    return;
  }
  const int64_t units = plan.blocks() * model.n_kv_heads;
  for (int64_t unit; (unit = next_unit.fetch_add(1, std::memory_order_relaxed)) < units;)
    attend_to(plan.block(unit / model.n_kv_heads), layer, static_cast<int>(unit % model.n_kv_heads), room);
}

inline void Pass::run(int thread, int threads, float* hidden_out, const int64_t* ids) {
  const int64_t hidden = model.hidden, inner = model.inner, attended = model.n_heads * model.head_dim;
  const int half = model.head_dim / 2;
  const int64_t rows = plan.rows();
  const Share mine = share_of(rows, thread, threads);
  // Of a single row each thread makes all that a matrix takes for itself: that is sooner done than waited for.
  const bool single = is_single();
  const Share taken = single ? Share{0, 1} : mine;
  Quantized& to = single ? own[thread] : input;
  Laps laps;
  const auto meet = [&] {
    barrier.wait();
    laps.lap(kWaiting);
  };
  const auto done = [&](Part part) {
    laps.lap(part);
    meet();
  };
  const auto made = [&] {
    laps.lap(kNorm);
    if (!single) meet();
  };
  for (int64_t r = mine.begin; r < mine.end; r++) {
    lookup_row(model.embedding, ids[r], x.get() + r * hidden);
    for (int i = 0; i < half; i++) {
      const float angle = static_cast<float>(plan.row(r).position) * model.inv_freq[i];
      cosines[r * half + i] = std::cos(angle) * model.rope_scaling;
      sines[r * half + i] = std::sin(angle) * model.rope_scaling;
    }
  }
  done(kLookup);
  for (int i = 0; i < model.n_layers; i++) {
    const Layer& layer = model.layers[i];
    normalize(layer.input_norm, taken, layer.qkv.kind, to);
    made();
    multiply_share(layer.qkv, to.view(hidden), rows, {qkv.get(), false}, thread, threads);
    done(kQkv);
    if (thread == 0) next_unit.store(0, std::memory_order_relaxed);
    keep(i, thread, threads);
    done(kKeep);
    attend_share(i, thread, threads);
    done(kAttend);
    if (single) std::copy_n(input.row(0, attended), attended, to.row(0, attended));
    for (int64_t r = taken.begin; r < taken.end; r++) to.quantize(layer.o.kind, r, attended, 0, groups_in(attended));
    made();
    multiply_share(layer.o, to.view(attended), rows, {x.get(), true}, thread, threads);
    done(kO);
    normalize(layer.post_norm, taken, layer.gate_up.kind, to);
    made();
    multiply_halves(layer.gate_up, to.view(hidden), rows, {wide.get(), false}, thread, threads);
    laps.lap(kGateUp);
    if (!single || !halves_meet(layer.gate_up)) meet();  // several rows: what others still read is written over next
    const Share groups = share_of(groups_in(inner), thread, threads);
    for (int64_t r = 0; r < rows; r++) {
      for (int64_t g = groups.begin; g < groups.end; g++) {
        const int64_t at = g * kGroup;
        const float* gates = wide.get() + r * 2 * inner + at;
        gate(gates, gates + inner, std::min<int64_t>(kGroup, inner - at), input.row(r, inner) + at);
      }
      if (groups.begin < groups.end) input.quantize(layer.down.kind, r, inner, groups.begin, groups.end);
    }
    done(kGate);
    multiply_share(layer.down, input.view(inner), rows, {x.get(), true}, thread, threads);
    done(kDown);
  }
  for (int64_t r = mine.begin; r < mine.end; r++)
    rms_norm(x.get() + r * hidden, model.final_norm, hidden, model.norm_eps, hidden_out + r * hidden);
  laps.lap(kNorm);
}

}  // namespace gearbox
