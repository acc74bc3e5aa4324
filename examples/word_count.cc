// lines ─ split ─ key_by word ─ 1 s windows ─► counts
#include <cstdio>
#include <levada/levada.h>

using namespace std::chrono_literals;
using levada::Timestamp;

struct Line { std::string text; Timestamp at; };
LEVADA_RECORD(Line, text, at)
struct Count { std::string word; Timestamp window; std::int64_t times = 0; };
LEVADA_RECORD(Count, word, window, times)

int main() {
  levada::StreamEnvironment env({.parallelism = 2});
  env.from_values<Line>({{"the water", Timestamp{100ms}}, {"the channel", Timestamp{400ms}},
                         {"the mountain", Timestamp{1200ms}}, {"the water", Timestamp{1700ms}}},
                        levada::event_time(&Line::at, {.bounded_out_of_orderness = 500ms}))
      .flat_map<std::string>([](const Line& line, auto& out) {
        const std::size_t space = line.text.find(' ');
        out.emit(line.text.substr(0, space));
        out.emit(line.text.substr(space + 1));
      })
      .key_by([](const std::string& word) -> const std::string& { return word; })
      .window(levada::tumbling(1s))
      .aggregate(levada::key().as(&Count::word), levada::window_start().as(&Count::window),
                 levada::count().as(&Count::times))
      .for_each([](const Count& c) {
        std::printf("%llds %s %lld\n", static_cast<long long>(c.window.time_since_epoch() / 1s),
                    c.word.c_str(), static_cast<long long>(c.times));
      });
  env.execute("word-count");
}
