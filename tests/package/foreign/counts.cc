#include <levada/levada.h>

int main() {
  levada::StreamEnvironment env;
  auto rows = env.from_values<int>({1, 2, 3}).filter([](int x) { return x != 2; }).collect();
  env.execute("counts");
  return rows.rows().size() == 2 ? 0 : 1;
}
