// What Python must agree on: sizes of the structures, the place of each member, and the kinds' numbers, in the order in
// which Python lists them.
#pragma once

#include "choice.h"
#include "model.h"
#include "segments.h"

#include <cstddef>

namespace gearbox {

constexpr int64_t kLayout[] = {
    sizeof(Matrix), offsetof(Matrix, kind), offsetof(Matrix, outputs), offsetof(Matrix, inputs),
    offsetof(Matrix, data), offsetof(Matrix, scales), offsetof(Matrix, bias),
    sizeof(Layer), offsetof(Layer, input_norm), offsetof(Layer, post_norm), offsetof(Layer, q_norm),
    offsetof(Layer, k_norm), offsetof(Layer, qkv), offsetof(Layer, o), offsetof(Layer, gate_up),
    offsetof(Layer, down), offsetof(Layer, window),
    sizeof(Model), offsetof(Model, n_layers), offsetof(Model, hidden), offsetof(Model, inner),
    offsetof(Model, n_heads), offsetof(Model, n_kv_heads), offsetof(Model, head_dim), offsetof(Model, norm_eps),
    offsetof(Model, rope_scaling), offsetof(Model, inv_freq), offsetof(Model, final_norm), offsetof(Model, layers),
    offsetof(Model, embedding),
    sizeof(Segment), offsetof(Segment, rows), offsetof(Segment, start), offsetof(Segment, capacity),
    offsetof(Segment, kv), offsetof(Segment, kv_in_int8),
    sizeof(Sequence), offsetof(Sequence, ids), offsetof(Sequence, length), offsetof(Sequence, room),
    offsetof(Sequence, kv), offsetof(Sequence, kv_length), offsetof(Sequence, kv_capacity),
    offsetof(Sequence, kv_in_int8), offsetof(Sequence, vocabulary), offsetof(Sequence, temperature),
    offsetof(Sequence, top_p), offsetof(Sequence, penalty), offsetof(Sequence, top_k), offsetof(Sequence, generator),
    offsetof(Sequence, frequency), offsetof(Sequence, presence), offsetof(Sequence, answer_start),
    offsetof(Sequence, bias_ids), offsetof(Sequence, biases), offsetof(Sequence, n_biases), offsetof(Sequence, n_top),
    offsetof(Sequence, allowed), offsetof(Sequence, top_ids), offsetof(Sequence, top_logprobs),
    offsetof(Sequence, stop_ids), offsetof(Sequence, n_stop_ids), offsetof(Sequence, most),
    offsetof(Sequence, seconds), offsetof(Sequence, interrupted), offsetof(Sequence, logprobs),
    offsetof(Sequence, entropies), offsetof(Sequence, margins), offsetof(Sequence, times), offsetof(Sequence, written),
    offsetof(Sequence, status),
    kInt4, kNf4, kInt8, kBf16, kBf16Panels,
};
constexpr int kLayoutNumbers = sizeof(kLayout) / sizeof(kLayout[0]);

}  // namespace gearbox
