// What Python calls: a forward pass, a product, rows of an embedding, a summary of logits, tokens chosen from logits or
// written one after the other, and checks of what they get.

#include "choice.h"
#include "layout.h"
#include "matrix.h"
#include "model.h"
#include "pass.h"
#include "profile.h"
#include "summary.h"
#include "writing.h"

#include <omp.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

namespace gearbox {

Nf4Table nf4_table;

Status forward(const Model& model, const int64_t* ids, const Segment* segments, int32_t count, float* hidden,
               int threads) {
  const Plan plan(model, segments, count);
  Pass pass(model, plan, threads);
  if (!pass.made()) return kNoMemory;
#pragma omp parallel num_threads(threads)
  {
#pragma omp single
    pass.barrier.expect(omp_get_num_threads());
    pass.run(omp_get_thread_num(), omp_get_num_threads(), hidden, ids);
  }
  return kDone;
}

// One thread's share of a product, of rows that are quantized on the way by all of a team.
void multiply_together(const Matrix& matrix, const float* x, int64_t rows, float* y, Quantized& input, Barrier& barrier,
                       int thread, int team) {
  const Share mine = share_of(rows, thread, team);
  for (int64_t r = mine.begin; r < mine.end; r++) {
    std::copy_n(x + r * matrix.inputs, matrix.inputs, input.row(r, matrix.inputs));
    input.quantize(matrix.kind, r, matrix.inputs, 0, groups_in(matrix.inputs));
  }
  barrier.wait();
  multiply_share(matrix, input.view(matrix.inputs), rows, {y, false}, thread, team);
}

Status multiply(const Matrix& matrix, const float* x, int64_t rows, float* y, int threads) {
  Quantized input(rows, matrix.inputs);
  if (!input.made()) return kNoMemory;
  Barrier barrier;
#pragma omp parallel num_threads(threads)
  {
#pragma omp single
    barrier.expect(omp_get_num_threads());
    Laps laps;
    multiply_together(matrix, x, rows, y, input, barrier, omp_get_thread_num(), omp_get_num_threads());
    laps.lap(kHead);
  }
  return kDone;
}

// Texts that are being written: rounds of a pass over the last token of each and a token chosen for each.
class Rounds {
 public:
  Rounds(const Model& model, const Matrix& head, Sequence* const* to, int32_t count)
      : model_(model),
        head_(head),
        to_(to),
        count_(count),
        hidden_(room_for<float>(static_cast<int64_t>(count) * model.hidden)),
        logits_(room_for<float>(static_cast<int64_t>(count) * head.outputs)),
        input_(count, head.inputs),
        writers_(to, count),
        ids_(count),
        segments_(count),
        rows_(count) {
    for (int32_t i = 0; i < count; i++) rows_[i] = logits_.get() + static_cast<int64_t>(i) * head.outputs;
  }

  bool made() const { return hidden_ && logits_ && input_.made(); }
  bool sound() const { return writers_.sound(); }

  // All of them, up to the first that ends, on one team of threads: between two tokens none is sent to sleep.
  Status run(const int32_t* interrupted, int threads) {
    Status status = kDone;
    bool goes_on = true;
#pragma omp parallel num_threads(threads)
    {
      const int thread = omp_get_thread_num(), team = omp_get_num_threads();
#pragma omp single
      barrier_.expect(team);
      while (true) {
        if (thread == 0) status = guarded([&] { return prepare(team); });
        barrier_.wait();
        if (status) break;
        read(thread, team);
        Laps laps;
        writers_.choose_some(rows_.data());
        barrier_.wait();
        laps.lap(kChoose);
        if (thread == 0) goes_on = writers_.all_go_on() && !is_set(interrupted);
        barrier_.wait();
        if (!goes_on) break;
      }
    }
    writers_.keep();
    return status;
  }

 private:
  // The next pass.
  Status prepare(int team) {
    for (int32_t i = 0; i < count_; i++) {
      ids_[i] = to_[i]->ids[to_[i]->length - 1];
      segments_[i] = {1, to_[i]->kv_length++, to_[i]->kv_capacity, to_[i]->kv, to_[i]->kv_in_int8};
    }
    pass_.reset();
    plan_.emplace(model_, segments_.data(), count_);
    pass_.emplace(model_, *plan_, team);
    pass_->barrier.expect(team);
    writers_.begin();
    return pass_->made() ? kDone : kNoMemory;
  }

  // Its logits.
  void read(int thread, int team) {
    pass_->run(thread, team, hidden_.get(), ids_.data());
    barrier_.wait();
    Laps laps;
    multiply_together(head_, hidden_.get(), count_, logits_.get(), input_, barrier_, thread, team);
    laps.lap(kHead);
    barrier_.wait();
    laps.lap(kWaiting);
  }

  const Model& model_;
  const Matrix& head_;
  Sequence* const* to_;
  int32_t count_;
  std::unique_ptr<float[], FreeDeleter> hidden_, logits_;
  Quantized input_;
  Writers writers_;
  std::vector<int64_t> ids_;
  std::vector<Segment> segments_;
  std::vector<const float*> rows_;
  std::optional<Plan> plan_;
  std::optional<Pass> pass_;
  Barrier barrier_;
};

Status write(const Model& model, const Matrix& head, Sequence* const* to, int32_t count, const int32_t* interrupted,
             int threads) {
  Rounds rounds(model, head, to, count);
  if (!rounds.made()) return kNoMemory;
  return rounds.sound() ? rounds.run(interrupted, threads) : kWrongNumber;
}

// Whether each of them can be written to; empties what is told of them.
Status check_sequences(Sequence* const* to, int32_t count) {
  if (!to) return kNullPointer;
  if (!in_range(count, kMostSegments)) return kWrongSegments;
  for (Sequence* const* s = to; s != to + count; s++) {
    if (!*s) return kNullPointer;
    (*s)->written = 0;
    (*s)->status = kDone;
    if (Status status = check_sequence(**s)) return status;
  }
  return kDone;
}

// Whether a text can be gone on with: its tokens are known, and its KV has room for more.
Status check_text(const Model& model, const Matrix& head, const Sequence& s) {
  if (!in_range(s.kv_capacity, kMostPositions) || s.kv_length < 0) return kNoRoom;
  if (s.kv_length > s.kv_capacity || s.most > s.kv_capacity - s.kv_length) return kNoRoom;
  if (s.vocabulary > head.outputs || s.vocabulary > model.embedding.outputs) return kWrongShape;
  if (Status status = check_kv(model, s.kv)) return status;
  return check_ids(s.ids, s.length, model.embedding.outputs);
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

// What multiplies matrices of 16 bits: a PairPath.
int gearbox_pair_path() { return static_cast<int>(gearbox::pair_path.load()); }

// Has another one do so, from the next call on.
int gearbox_set_pair_path(int32_t path) {
  if (path < 0 || path > static_cast<int32_t>(gearbox::kFastestPairs)) return gearbox::kWrongNumber;
  gearbox::pair_path = static_cast<gearbox::PairPath>(path);
  return gearbox::kDone;
}

// Appends the rows of each segment at its start; ids and hidden hold the segments' rows one after the other.
int gearbox_forward(const gearbox::Model* model, const int64_t* ids, const gearbox::Segment* segments, int32_t count,
                    float* hidden, int threads) {
  if (!model || !segments) return gearbox::kNullPointer;
  if (!gearbox::in_range(threads, gearbox::kMostThreads)) return gearbox::kWrongThreads;
  if (gearbox::Status status = gearbox::check_model(*model)) return status;
  if (gearbox::Status status = gearbox::check_segments(*model, segments, count)) return status;
  if (!ids || !hidden) return gearbox::kNullPointer;  // after the rows: of none there is no address
  int64_t rows = 0;
  for (int32_t i = 0; i < count; i++) rows += segments[i].rows;
  if (gearbox::Status status = gearbox::check_ids(ids, rows, model->embedding.outputs)) return status;
  return gearbox::guarded([&] { return gearbox::forward(*model, ids, segments, count, hidden, threads); });
}

// A matrix [outputs, inputs] of 16 bits -> its panels; see pairs.h
int gearbox_pack_pairs(const uint16_t* weights, int64_t outputs, int64_t inputs, uint8_t* data, int threads) {
  if (!weights || !data) return gearbox::kNullPointer;
  if (!gearbox::in_range(outputs, gearbox::kMostFeatures) || !gearbox::in_range(inputs, gearbox::kMostFeatures))
    return gearbox::kWrongShape;
  if (!gearbox::in_range(threads, gearbox::kMostThreads)) return gearbox::kWrongThreads;
  const int64_t panels = (outputs + gearbox::kPairPanel - 1) / gearbox::kPairPanel;
#pragma omp parallel for num_threads(threads)
  for (int64_t panel = 0; panel < panels; panel++)
    gearbox::pack_panel(weights, outputs, inputs, panel, data);
  return gearbox::kDone;
}

// Nanoseconds that passes have spent in each Part since this was last asked, by all threads together; returns how many
// parts there are: none in kernels that are not built to tell.
int gearbox_profile(int64_t* ns, int room) {
  const int parts = ns && gearbox::kProfiled ? std::min<int>(gearbox::kParts, room) : 0;
  for (int i = 0; i < parts; i++) ns[i] = gearbox::spent_ns[i].exchange(0);
  return parts;
}

// Rows that one reading of the weights of a kind serves.
int gearbox_rows_together(int32_t kind) { return gearbox::rows_together(static_cast<gearbox::Kind>(kind)); }

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

// One more token of each text, from logits [vocabulary] each. Their KV is left as it is.
int gearbox_choose(const float* const* logits, gearbox::Sequence* const* to, int32_t count, int threads) {
  if (!logits) return gearbox::kNullPointer;
  if (!gearbox::in_range(threads, gearbox::kMostThreads)) return gearbox::kWrongThreads;
  if (gearbox::Status status = gearbox::check_sequences(to, count)) return status;
  for (int32_t i = 0; i < count; i++)
    if (!logits[i]) return gearbox::kNullPointer;
  return gearbox::guarded([&] {
    gearbox::Writers writers(to, count);
    if (!writers.sound()) return gearbox::kWrongNumber;
    writers.begin();
#pragma omp parallel num_threads(threads) if (count > 1)
    writers.choose_some(logits);
    writers.keep();
    return gearbox::kDone;
  });
}

// Tokens of one or several texts, until a condition of one of them ends the call, or `interrupted` is not 0: as many of
// each, and at least one, unless something fails. No two texts may share ids, KV or anything else that is written to:
// that is the caller's to see to.
int gearbox_write(const gearbox::Model* model, const gearbox::Matrix* head, gearbox::Sequence* const* to, int32_t count,
                  const int32_t* interrupted, int threads) {
  if (!model || !head || !interrupted) return gearbox::kNullPointer;
  if (gearbox::misaligned(interrupted, alignof(int32_t))) return gearbox::kMisaligned;
  if (!gearbox::in_range(threads, gearbox::kMostThreads)) return gearbox::kWrongThreads;
  if (gearbox::Status status = gearbox::check_sequences(to, count)) return status;
  if (gearbox::Status status = gearbox::check_model(*model)) return status;
  if (gearbox::Status status = gearbox::check_matrix(*head)) return status;
  if (head->inputs != model->hidden) return gearbox::kWrongShape;
  for (int32_t i = 0; i < count; i++)
    if (gearbox::Status status = gearbox::check_text(*model, *head, *to[i])) return status;
  return gearbox::guarded([&] { return gearbox::write(*model, *head, to, count, interrupted, threads); });
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
