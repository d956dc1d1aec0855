// Rows of several sequences on their way through one pass: matrices see them as one block of rows, attention each over
// its own sequence's keys and values.
#pragma once

#include "blocked_attention.h"
#include "model.h"

#include <algorithm>
#include <vector>

namespace gearbox {

// Tokens of one sequence. No two segments of a pass may have the same KV: that is the caller's to see to.
struct Segment {
  int64_t rows;
  int64_t start, capacity;  // positions in the cache already, and positions there is room for
  uint8_t* const* kv;       // for each layer [capacity, 2, kv_heads] vectors of head_dim bf16, or of head_dim int8 and
                            // a scale in fp32
  int32_t kv_in_int8;
};

constexpr int32_t kMostSegments = 1 << 12;
constexpr int64_t kFewestBlocks = 16;  // of a segment that has many queries, so that threads end together
constexpr int64_t kWorthTurning = 16;  // queries from which on their keys are turned on their side

// Whether a cache's layers are there.
inline Status check_kv(const Model& m, uint8_t* const* kv) {
  if (!kv) return kNullPointer;
  for (int32_t i = 0; i < m.n_layers; i++)
    if (!kv[i]) return kNullPointer;
  return kDone;
}

// Whether each of the segments has room for its rows, and all of them together are not too many.
inline Status check_segments(const Model& m, const Segment* segments, int32_t count) {
  if (!in_range(count, kMostSegments)) return kWrongSegments;
  int64_t rows = 0;
  for (const Segment* s = segments; s != segments + count; s++) {
    if (s->rows < 1) return kWrongRows;
    if (!in_range(s->capacity, kMostPositions) || s->start < 0 || s->start > s->capacity) return kNoRoom;
    if (s->rows > s->capacity - s->start) return kNoRoom;
    if (Status status = check_kv(m, s->kv)) return status;
    rows += s->rows;  // at most kMostSegments · kMostPositions
  }
  return rows > kMostPositions ? kWrongRows : kDone;
}

// Where everything of a pass belongs: made once, used by each layer.
class Plan {
 public:
  struct Row {
    const Segment* segment;
    int64_t position;
  };
  // Queries of one segment that share a key-value head and are attended to together.
  struct Block {
    const Segment* segment;
    int64_t row;           // the segment's first in the pass
    int64_t begin, count;  // queries: a row's stand together, as many as share a key-value head
    int64_t reach;         // the last position that one of them sees
  };

  Plan(const Model& m, const Segment* segments, int32_t count) {
    const int64_t shared_by = m.n_heads / m.n_kv_heads;
    int64_t total = 0;
    for (const Segment* s = segments; s != segments + count; s++) total += s->rows;
    rows_.reserve(total);
    const int64_t few = total * m.n_heads < 32 ? 2 : kQueries;  // few queries: leave some to each thread
    for (const Segment* s = segments; s != segments + count; s++) {
      const int64_t row = rows(), queries = s->rows * shared_by;
      const int64_t fair = std::min<int64_t>(kManyQueries, queries * m.n_kv_heads / kFewestBlocks);
      const int64_t together = fair < kWorthTurning ? few : fair;
      for (int64_t r = 0; r < s->rows; r++) rows_.push_back({s, s->start + r});
      for (int64_t begin = 0; begin < queries; begin += together) {
        const int64_t taken = std::min(together, queries - begin);
        blocks_.push_back({s, row, begin, taken, s->start + (begin + taken - 1) / shared_by});
      }
      longest_ = std::max(longest_, s->start + s->rows);
      most_together_ = std::max(most_together_, std::min(together, queries));
    }
    // the longest first, so that the threads end together
    std::sort(blocks_.begin(), blocks_.end(), [](const Block& a, const Block& b) { return a.reach > b.reach; });
  }

  int64_t rows() const { return static_cast<int64_t>(rows_.size()); }
  int64_t blocks() const { return static_cast<int64_t>(blocks_.size()); }
  const Row& row(int64_t r) const { return rows_[r]; }
  const Block& block(int64_t b) const { return blocks_[b]; }
  int64_t longest() const { return longest_; }  // positions of the longest sequence, the pass's own rows included
  int64_t most_together() const { return most_together_; }  // queries of a block

 private:
  std::vector<Row> rows_;
  std::vector<Block> blocks_;
  int64_t longest_ = 0, most_together_ = 0;
};

}  // namespace gearbox
