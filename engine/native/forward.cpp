// What Python calls: a forward pass, a product, rows of an embedding, a summary of logits, tokens chosen from logits or
// written one after the other, and checks of what they get.

#include "choice.h"
#include "layout.h"
#include "matrix.h"
#include "model.h"
#include "pass.h"
#include "summary.h"

#include <omp.h>

#include <new>
#include <optional>

namespace gearbox {

Nf4Table nf4_table;

template <typename Vector>
Status forward(const Model& model, const int64_t* ids, int64_t rows, int64_t start, uint8_t* const* kv, float* hidden,
               int threads) {
  Pass<Vector> pass(model, rows, start, kv, threads);
  if (!pass.made()) return kNoMemory;
#pragma omp parallel num_threads(threads)
  {
#pragma omp single
    pass.barrier.expect(omp_get_num_threads());
    pass.run(omp_get_thread_num(), omp_get_num_threads(), hidden, ids);
  }
  return kDone;
}

Status multiply(const Matrix& matrix, const float* x, int64_t rows, float* y, int threads) {
  Quantized input(rows, matrix.inputs);
  if (!input.made()) return kNoMemory;
  Barrier barrier;
#pragma omp parallel num_threads(threads)
  {
#pragma omp single
    barrier.expect(omp_get_num_threads());
    const int thread = omp_get_thread_num(), team = omp_get_num_threads();
    const Share mine = share_of(rows, thread, team);
    for (int64_t r = mine.begin; r < mine.end; r++) {
      std::memcpy(input.row(r, matrix.inputs), x + r * matrix.inputs, sizeof(float) * matrix.inputs);
      input.quantize(r, matrix.inputs, 0, matrix.inputs / kGroup);
    }
    barrier.wait();
    multiply_share(matrix, input.view(matrix.inputs), rows, {y, false}, thread, team);
  }
  return kDone;
}

// One token after the other, each chosen from the logits of a pass over the one before it.
template <typename Vector>
Status write(const Model& model, const Matrix& head, Sequence& to, int threads) {
  const auto hidden = room_for<float>(model.hidden), logits = room_for<float>(head.outputs);
  if (!hidden || !logits) return kNoMemory;
  Chooser chooser(to);
  std::optional<Generator> generator;
  if (to.temperature > 0) {
    generator.emplace(to.generator);
    if (!generator->sound()) return kWrongNumber;
  }
  const double begun = Chooser::seconds_now();
  const int64_t *stop_begin = to.stop_ids, *stop_end = to.stop_ids + to.n_stop_ids;
  Status status = kDone;
  while (to.written < to.most) {
    status = forward<Vector>(model, to.ids + to.length - 1, 1, to.kv_length, to.kv, hidden.get(), threads);
    if (status) break;
    to.kv_length++;
    status = multiply(head, hidden.get(), 1, logits.get(), threads);
    if (status) break;
    status = chooser.choose(logits.get(), to, generator ? &*generator : nullptr);
    if (status) break;
    if (std::find(stop_begin, stop_end, to.ids[to.length - 1]) != stop_end) break;
    if (to.times[to.written - 1] - begun >= to.seconds) break;
    if (*static_cast<const volatile int32_t*>(to.interrupted)) break;
  }
  if (generator) generator->keep();
  return status;
}

// What Python calls is C: nothing may be thrown out of it.
template <typename Work>
int guarded(Work work) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return kNoMemory;
  } catch (...) {
    return kFailed;
  }
}

}  // namespace gearbox

// --- what Python calls; each returns a Status ------------------------------------------------------------------

extern "C" {

// kLayout, for the other side to compare with its own; returns how many numbers there are.
int gearbox_layout(int64_t* numbers, int room) {
  for (int i = 0; numbers && i < room && i < gearbox::kLayoutNumbers; i++) numbers[i] = gearbox::kLayout[i];
  return gearbox::kLayoutNumbers;
}

int gearbox_check_matrix(const gearbox::Matrix* matrix) {
  return matrix ? gearbox::check_matrix(*matrix) : gearbox::kNullPointer;
}

int gearbox_check_model(const gearbox::Model* model) {
  return model ? gearbox::check_model(*model) : gearbox::kNullPointer;
}

int gearbox_set_nf4_table(const int8_t* high, const int8_t* low) {
  if (!high || !low) return gearbox::kNullPointer;
  std::memcpy(gearbox::nf4_table.high, high, 16);
  std::memcpy(gearbox::nf4_table.low, low, 16);
  return gearbox::kDone;
}

// Appends rows at position start; kv holds a pointer for each layer to [capacity, 2, kv_heads] vectors of head_dim
// bf16, or of head_dim int8 and a scale in fp32.
int gearbox_forward(const gearbox::Model* model, const int64_t* ids, int64_t rows, int64_t start, int64_t capacity,
                    uint8_t* const* kv, int kv_in_int8, float* hidden, int threads) {
  if (rows < 1) return gearbox::kWrongRows;
  if (!model || !ids || !kv || !hidden) return gearbox::kNullPointer;
  if (!gearbox::in_range(capacity, gearbox::kMostPositions) || start < 0 || start > capacity) return gearbox::kNoRoom;
  if (rows > capacity - start) return gearbox::kNoRoom;
  if (!gearbox::in_range(threads, gearbox::kMostThreads)) return gearbox::kWrongThreads;
  if (gearbox::Status status = gearbox::check_model(*model)) return status;
  for (int32_t i = 0; i < model->n_layers; i++)
    if (!kv[i]) return gearbox::kNullPointer;
  if (gearbox::Status status = gearbox::check_ids(ids, rows, model->embedding.outputs)) return status;
  return gearbox::guarded([&] {
    return kv_in_int8 ? gearbox::forward<gearbox::Int8Vector>(*model, ids, rows, start, kv, hidden, threads)
                      : gearbox::forward<gearbox::Bf16Vector>(*model, ids, rows, start, kv, hidden, threads);
  });
}

// y [rows, outputs] = x [rows, inputs] Wᵀ + bias
int gearbox_multiply(const gearbox::Matrix* matrix, const float* x, int64_t rows, float* y, int threads) {
  if (!gearbox::in_range(rows, gearbox::kMostPositions)) return gearbox::kWrongRows;
  if (!matrix || !x || !y) return gearbox::kNullPointer;
  if (gearbox::Status status = gearbox::check_matrix(*matrix)) return status;
  if (!gearbox::in_range(threads, gearbox::kMostThreads)) return gearbox::kWrongThreads;
  return gearbox::guarded([&] { return gearbox::multiply(*matrix, x, rows, y, threads); });
}

// out [4]: log Σ exp, entropy, the largest, the second
int gearbox_summarize(const float* logits, int64_t count, float* out) {
  if (count < 1) return gearbox::kWrongRows;
  if (!logits || !out) return gearbox::kNullPointer;
  const gearbox::Summary summary = gearbox::summarize(logits, count);
  std::memcpy(out, &summary, sizeof summary);
  return gearbox::kDone;
}

// One more token of a text, from logits [vocabulary]. Its KV is left as it is.
int gearbox_choose(const float* logits, gearbox::Sequence* to) {
  if (!logits || !to) return gearbox::kNullPointer;
  to->written = 0;
  if (gearbox::Status status = gearbox::check_sequence(*to)) return status;
  return gearbox::guarded([&]() -> gearbox::Status {
    gearbox::Chooser chooser(*to);
    if (to->temperature <= 0) return chooser.choose(logits, *to, nullptr);
    gearbox::Generator generator(to->generator);
    if (!generator.sound()) return gearbox::kWrongNumber;
    const gearbox::Status status = chooser.choose(logits, *to, &generator);
    generator.keep();
    return status;
  });
}

// Tokens of a text, until one of its conditions ends the call: at least one, unless something fails.
int gearbox_write(const gearbox::Model* model, const gearbox::Matrix* head, gearbox::Sequence* to, int threads) {
  if (!model || !head || !to || !to->kv) return gearbox::kNullPointer;
  to->written = 0;
  if (gearbox::Status status = gearbox::check_sequence(*to)) return status;
  if (!gearbox::in_range(to->kv_capacity, gearbox::kMostPositions) || to->kv_length < 0) return gearbox::kNoRoom;
  if (to->kv_length > to->kv_capacity || to->most > to->kv_capacity - to->kv_length) return gearbox::kNoRoom;
  if (!gearbox::in_range(threads, gearbox::kMostThreads)) return gearbox::kWrongThreads;
  if (gearbox::Status status = gearbox::check_model(*model)) return status;
  if (gearbox::Status status = gearbox::check_matrix(*head)) return status;
  if (head->inputs != model->hidden || to->vocabulary > head->outputs) return gearbox::kWrongShape;
  if (to->vocabulary > model->embedding.outputs) return gearbox::kWrongShape;
  for (int32_t i = 0; i < model->n_layers; i++)
    if (!to->kv[i]) return gearbox::kNullPointer;
  if (gearbox::Status status = gearbox::check_ids(to->ids, to->length, model->embedding.outputs)) return status;
  return gearbox::guarded([&] {
    return to->kv_in_int8 ? gearbox::write<gearbox::Int8Vector>(*model, *head, *to, threads)
                          : gearbox::write<gearbox::Bf16Vector>(*model, *head, *to, threads);
  });
}

int gearbox_lookup(const gearbox::Matrix* matrix, const int64_t* ids, int64_t rows, float* x) {
  if (!gearbox::in_range(rows, gearbox::kMostPositions)) return gearbox::kWrongRows;
  if (!matrix || !ids || !x) return gearbox::kNullPointer;
  if (gearbox::Status status = gearbox::check_embedding(*matrix)) return status;
  if (gearbox::Status status = gearbox::check_ids(ids, rows, matrix->outputs)) return status;
  for (int64_t r = 0; r < rows; r++) gearbox::lookup_row(*matrix, ids[r], x + r * matrix->inputs);
  return gearbox::kDone;
}
}
