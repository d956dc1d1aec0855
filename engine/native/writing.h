// Sequences that are being written beside one another: each chooses from its own row of logits.
#pragma once

#include "choice.h"
#include "pass.h"

#include <algorithm>
#include <atomic>
#include <new>
#include <optional>
#include <vector>

namespace gearbox {

// Nothing may be thrown into C, nor out of a parallel region.
template <typename Work>
Status guarded(Work work) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return kNoMemory;
  } catch (...) {
    return kFailed;
  }
}

inline bool is_set(const int32_t* flag) { return *static_cast<const volatile int32_t*>(flag) != 0; }

// Sequences and what they choose with. None of them knows of the others.
class Writers {
 public:
  Writers(Sequence* const* sequences, int32_t count) : begun_(Chooser::seconds_now()) {
    writers_.reserve(count);
    for (Sequence* const* s = sequences; s != sequences + count; s++) writers_.emplace_back(**s);
  }

  // Whether the generators are in a state that torch knows.
  bool sound() const {
    return std::all_of(writers_.begin(), writers_.end(),
                       [](const Writer& w) { return !w.generator || w.generator->sound(); });
  }

  // One more token of each is to be chosen.
  void begin() { next_.store(0, std::memory_order_relaxed); }

  // Chooses for those that no other thread has begun with, from their logits.
  void choose_some(const float* const* logits) {
    const int64_t count = static_cast<int64_t>(writers_.size());
    for (int64_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < count;) choose_one(writers_[i], logits[i]);
  }

  bool all_go_on() const {
    return std::all_of(writers_.begin(), writers_.end(), [](const Writer& w) { return w.goes_on; });
  }

  // Gives the generators' states back.
  void keep() const {
    for (const Writer& w : writers_)
      if (w.generator) w.generator->keep();
  }

 private:
  struct Writer {
    explicit Writer(Sequence& sequence) : to(sequence), chooser(sequence) {
      if (to.temperature > 0) generator.emplace(to.generator);
    }
    Sequence& to;
    Chooser chooser;
    std::optional<Generator> generator;
    bool goes_on = true;
  };

  void choose_one(Writer& w, const float* logits) const {
    Sequence& to = w.to;
    const Status status =
        guarded([&] { return w.chooser.choose(logits, to, w.generator ? &*w.generator : nullptr); });
    if (status) {
      if (!to.written) to.status = status;  // else what is written counts, and the next call fails at once
      w.goes_on = false;
      return;
    }
    const int64_t* stop_end = to.stop_ids + to.n_stop_ids;
    w.goes_on = to.written < to.most && std::find(to.stop_ids, stop_end, to.ids[to.length - 1]) == stop_end &&
                to.times[to.written - 1] - begun_ < to.seconds && !is_set(to.interrupted);
  }

  std::vector<Writer> writers_;
  double begun_;
  std::atomic<int64_t> next_{0};
};

}  // namespace gearbox
