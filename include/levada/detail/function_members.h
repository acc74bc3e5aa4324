// The members of a function's struct, one after the other: how the engine finds the state members of a user's
// aggregate without a base class or a macro.
#pragma once

#include <cstddef>
#include <type_traits>

#include "levada/serde.h"
#include "levada/state.h"

namespace levada::detail {

inline constexpr std::size_t kFunctionMembersMax = 16;

/// Calls f(member) for each member of the aggregate `s`, in order.
template <std::size_t kCount, class S, class F>
void visit_members(S& s, F& f) {
  const auto all = [&f](auto&... member) { (f(member), ...); };
  // clang-format off
  if constexpr (kCount == 1) { auto& [a] = s; all(a); }
  if constexpr (kCount == 2) { auto& [a, b] = s; all(a, b); }
  if constexpr (kCount == 3) { auto& [a, b, c] = s; all(a, b, c); }
  if constexpr (kCount == 4) { auto& [a, b, c, d] = s; all(a, b, c, d); }
  if constexpr (kCount == 5) { auto& [a, b, c, d, e] = s; all(a, b, c, d, e); }
  if constexpr (kCount == 6) { auto& [a, b, c, d, e, g] = s; all(a, b, c, d, e, g); }
  if constexpr (kCount == 7) { auto& [a, b, c, d, e, g, h] = s; all(a, b, c, d, e, g, h); }
  if constexpr (kCount == 8) { auto& [a, b, c, d, e, g, h, i] = s; all(a, b, c, d, e, g, h, i); }
  if constexpr (kCount == 9) { auto& [a, b, c, d, e, g, h, i, j] = s; all(a, b, c, d, e, g, h, i, j); }
  if constexpr (kCount == 10) { auto& [a, b, c, d, e, g, h, i, j, k] = s; all(a, b, c, d, e, g, h, i, j, k); }
  if constexpr (kCount == 11) { auto& [a, b, c, d, e, g, h, i, j, k, l] = s; all(a, b, c, d, e, g, h, i, j, k, l); }
  if constexpr (kCount == 12) { auto& [a, b, c, d, e, g, h, i, j, k, l, m] = s; all(a, b, c, d, e, g, h, i, j, k, l, m); }
  if constexpr (kCount == 13) { auto& [a, b, c, d, e, g, h, i, j, k, l, m, n] = s; all(a, b, c, d, e, g, h, i, j, k, l, m, n); }
  if constexpr (kCount == 14) { auto& [a, b, c, d, e, g, h, i, j, k, l, m, n, o] = s; all(a, b, c, d, e, g, h, i, j, k, l, m, n, o); }
  if constexpr (kCount == 15) { auto& [a, b, c, d, e, g, h, i, j, k, l, m, n, o, p] = s; all(a, b, c, d, e, g, h, i, j, k, l, m, n, o, p); }
  if constexpr (kCount == 16) { auto& [a, b, c, d, e, g, h, i, j, k, l, m, n, o, p, q] = s; all(a, b, c, d, e, g, h, i, j, k, l, m, n, o, p, q); }
  // clang-format on
}

/// Calls f(member) for each state member of a function. What is no aggregate has none that can be found.
template <class Function, class F>
void for_each_state(Function& function, F f) {
  using S = std::remove_cv_t<Function>;
  if constexpr (std::is_aggregate_v<S>) {
    constexpr std::size_t kCount = field_count<S>();
    static_assert(kCount <= kFunctionMembersMax, "process: a function's struct has up to 16 members");
    auto visit = [&f]<class M>(M& member) {
      if constexpr (std::is_base_of_v<StateMember, std::remove_cv_t<M>>) f(member);
    };
    visit_members<kCount>(function, visit);
  }
}

}  // namespace levada::detail
