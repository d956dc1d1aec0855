// A decoder as the kernels see it, and the checks that keep what is called with it inside what it owns.
//
// Lengths come from files that anybody may have written. All of it is looked at with every call: that takes about a
// microsecond, and a pass takes thousands.
#pragma once

#include "panels.h"

#include <cmath>
#include <cstddef>
#include <initializer_list>
#include <limits>

namespace gearbox {

// What a call comes to. Python has the same numbers, and words for them.
enum Status : int {
  kDone = 0,
  kNoMemory = -1,
  kNullPointer = -2,
  kUnknownKind = -3,
  kWrongShape = -4,
  kWrongRows = -5,
  kNoRoom = -6,
  kUnknownToken = -7,
  kWrongThreads = -8,
  kWrongNumber = -9,
  kMisaligned = -10,
  kFailed = -11,
  kNoNumbers = -12,
  kWrongSegments = -13,
};

struct Layer {
  const float* input_norm;
  const float* post_norm;
  const float* q_norm;  // null but for qwen3
  const float* k_norm;
  Matrix qkv, o, gate_up, down;
  int64_t window;  // positions a row sees, its own included; 0 for all
};

struct Model {
  int32_t n_layers, hidden, inner, n_heads, n_kv_heads, head_dim;
  float norm_eps, rope_scaling;
  const float* inv_freq;  // [head_dim / 2]
  const float* final_norm;
  const Layer* layers;
  Matrix embedding;
};

// Below these no product of two dimensions leaves 63 bits, and none of one with a small factor 31.
constexpr int32_t kMostFeatures = 1 << 26;
constexpr int32_t kMostLayers = 1 << 16;
constexpr int64_t kMostPositions = std::numeric_limits<int32_t>::max() - 64;
constexpr int kMostThreads = 4096;

inline bool misaligned(const void* p, size_t bytes) { return reinterpret_cast<uintptr_t>(p) % bytes != 0; }

inline bool in_range(int64_t value, int64_t most) { return 0 < value && value <= most; }

// A vector of fp32 that must be there.
inline Status check_vector(const float* p) {
  if (!p) return kNullPointer;
  return misaligned(p, alignof(float)) ? kMisaligned : kDone;
}

// Whether a matrix says of itself what its kind allows.
inline Status check_matrix(const Matrix& w) {
  if (!w.data) return kNullPointer;
  if (!in_range(w.outputs, kMostFeatures) || !in_range(w.inputs, kMostFeatures)) return kWrongShape;
  if (misaligned(w.bias, alignof(float))) return kMisaligned;
  switch (w.kind) {
    case kBf16:
    case kBf16Panels:
      if (w.scales) return kWrongShape;
      return misaligned(w.data, alignof(uint16_t)) ? kMisaligned : kDone;
    case kInt8:
      if (Status status = check_vector(w.scales)) return status;
      break;
    case kInt4:
    case kNf4:
      if (w.scales) return kWrongShape;
      break;
    default: return kUnknownKind;
  }
  return w.outputs % kPanel || w.inputs % kGroup ? kWrongShape : kDone;
}

// The same, of a matrix whose shape the model promises.
inline Status check_matrix(const Matrix& w, int64_t outputs, int64_t inputs) {
  if (Status status = check_matrix(w)) return status;
  return w.outputs == outputs && w.inputs == inputs ? kDone : kWrongShape;
}

// Whether rows can be looked up in a matrix.
inline Status check_embedding(const Matrix& w) {
  if (Status status = check_matrix(w)) return status;
  return w.kind == kInt8 || w.kind == kBf16 || w.kind == kBf16Panels ? kDone : kUnknownKind;
}

inline Status check_layer(const Layer& layer, const Model& m) {
  const int64_t attended = static_cast<int64_t>(m.n_heads) * m.head_dim;
  const int64_t kept = static_cast<int64_t>(m.n_kv_heads) * m.head_dim;
  for (const float* norm : {layer.input_norm, layer.post_norm})
    if (Status status = check_vector(norm)) return status;
  if (!layer.q_norm != !layer.k_norm) return kNullPointer;
  if (misaligned(layer.q_norm, alignof(float)) || misaligned(layer.k_norm, alignof(float))) return kMisaligned;
  if (layer.window < 0) return kWrongNumber;
  if (Status status = check_matrix(layer.qkv, attended + 2 * kept, m.hidden)) return status;
  if (Status status = check_matrix(layer.o, m.hidden, attended)) return status;
  if (Status status = check_matrix(layer.gate_up, 2 * static_cast<int64_t>(m.inner), m.hidden)) return status;
  return check_matrix(layer.down, m.hidden, m.inner);
}

// Whether a model's dimensions agree with one another and its matrices with them.
inline Status check_model(const Model& m) {
  if (!in_range(m.n_layers, kMostLayers) || !in_range(m.hidden, kMostFeatures)) return kWrongShape;
  if (!in_range(m.inner, kMostFeatures) || !in_range(m.n_heads, kMostFeatures)) return kWrongShape;
  if (!in_range(m.n_kv_heads, m.n_heads) || m.n_heads % m.n_kv_heads) return kWrongShape;
  if (!in_range(m.head_dim, kMostFeatures) || m.head_dim % 16) return kWrongShape;
  if (static_cast<int64_t>(m.n_heads) * m.head_dim > kMostFeatures) return kWrongShape;
  if (!std::isfinite(m.norm_eps) || m.norm_eps < 0 || !std::isfinite(m.rope_scaling)) return kWrongNumber;
  for (const float* vector : {m.inv_freq, m.final_norm})
    if (Status status = check_vector(vector)) return status;
  if (!m.layers) return kNullPointer;
  if (misaligned(m.layers, alignof(Layer))) return kMisaligned;
  if (Status status = check_embedding(m.embedding)) return status;
  if (m.embedding.inputs != m.hidden) return kWrongShape;
  for (int32_t i = 0; i < m.n_layers; i++)
    if (Status status = check_layer(m.layers[i], m)) return status;
  return kDone;
}

inline Status check_ids(const int64_t* ids, int64_t rows, int64_t vocabulary) {
  for (int64_t r = 0; r < rows; r++)
    if (ids[r] < 0 || ids[r] >= vocabulary) return kUnknownToken;
  return kDone;
}

}  // namespace gearbox
