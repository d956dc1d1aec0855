// Where the time of passes goes. Only kernels that are built to tell (GEARBOX_PROFILE) look at the clock.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace gearbox {

#if defined(GEARBOX_PROFILE)
constexpr bool kProfiled = true;
#else
constexpr bool kProfiled = false;
#endif

// Parts of a pass; Python has their names.
enum Part : int { kLookup, kNorm, kQkv, kKeep, kAttend, kO, kGateUp, kGate, kDown, kHead, kChoose, kWaiting, kParts };

inline std::atomic<int64_t> spent_ns[kParts];  // by all threads together

// The time of one thread: what has passed since the lap before belongs to a part.
class Laps {
 public:
  Laps() : since_(now_ns()) {}
  Laps(const Laps&) = delete;
  Laps& operator=(const Laps&) = delete;
  ~Laps() {
    if constexpr (kProfiled)
      for (int part = 0; part < kParts; part++) spent_ns[part].fetch_add(own_[part], std::memory_order_relaxed);
  }

  void lap(Part part) {
    if constexpr (kProfiled) {
      const int64_t now = now_ns();
      own_[part] += now - since_;
      since_ = now;
    }
  }

 private:
  static int64_t now_ns() {
    if constexpr (!kProfiled) return 0;
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }

  int64_t since_;
  int64_t own_[kProfiled ? kParts : 1] = {};
};

}  // namespace gearbox
