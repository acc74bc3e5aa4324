#include "order.h"

#include <charconv>

namespace orders {
namespace {

template <typename Number>
void append(std::string_view name, Number value, std::string& out) {
  char digits[24];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  out.append(name).append(digits, end);
}

template <typename Number>
bool take(std::string_view name, std::string_view& text, Number& value) {
  if (!text.starts_with(name)) return false;
  text.remove_prefix(name.size());
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ec != std::errc{}) return false;
  text.remove_prefix(static_cast<std::size_t>(result.ptr - text.data()));
  return true;
}

}  // namespace

void write_json(const Order& order, std::string& out) {
  out.clear();
  append("{\"user\":", order.user, out);
  append(",\"item\":", order.item, out);
  append(",\"amount\":", order.amount, out);
  append(",\"ts\":", order.ts_ms, out);
  out.push_back('}');
}

bool parse_json(std::string_view text, Order& order) {
  return take("{\"user\":", text, order.user) && take(",\"item\":", text, order.item) &&
         take(",\"amount\":", text, order.amount) && take(",\"ts\":", text, order.ts_ms) &&
         text == "}";
}

}  // namespace orders
