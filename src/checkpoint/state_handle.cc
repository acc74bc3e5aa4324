#include "checkpoint/state_handle.h"

#include <string_view>

namespace levada {

std::string state_file_name(const ContentHash& hash, std::uint64_t length) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string name = "state-";
  for (const std::uint64_t half : {hash.high, hash.low}) {
    for (int shift = 60; shift >= 0; shift -= 4) name += kDigits[(half >> shift) & 15];
  }
  return name + "-" + std::to_string(length);
}

StateHandle handle_of(const ContentHash& hash, std::uint64_t length) {
  StateHandle state;
  state.length = length;
  state.hash = hash;
  state.file = state_file_name(hash, length);
  return state;
}

void put_content(Bytes& out, const StateHandle& state) {
  put_number(out, state.length);
  put_number(out, state.hash.high);
  put_number(out, state.hash.low);
}

StateHandle take_content(View& in) {
  StateHandle state;
  state.length = in.take_number<std::uint64_t>();
  state.hash.high = in.take_number<std::uint64_t>();
  state.hash.low = in.take_number<std::uint64_t>();
  return state;
}

StateHandle take_file(View& in) {
  const StateHandle content = take_content(in);
  return handle_of(content.hash, content.length);
}

}  // namespace levada
