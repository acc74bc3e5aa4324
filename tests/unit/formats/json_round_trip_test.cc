// Random rows against JSON text written here, independently of the library, and through its own writer.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "levada/error.h"
#include "levada/formats.h"
#include "levada/serde.h"

namespace levada {

struct Leaf {
  std::int16_t a = 0;
  std::optional<std::string> b;
  bool operator==(const Leaf&) const = default;
};
LEVADA_RECORD(Leaf, a, b)

struct Tree {
  std::int64_t i = 0;
  std::uint64_t u = 0;
  double d = 0;
  float f = 0;
  bool yes = false;
  std::string s;
  Timestamp t;
  Duration w{};
  std::vector<Leaf> leaves;
  std::optional<std::vector<std::uint8_t>> bytes;
  bool operator==(const Tree&) const = default;
};
LEVADA_RECORD(Tree, i, u, d, f, yes, s, t, w, leaves, bytes)

namespace {

class Generator {
 public:
  explicit Generator(std::uint64_t seed) : random_(seed) {}

  Tree tree() {
    Tree row;
    row.i = static_cast<std::int64_t>(bits());
    row.u = bits();
    row.d = std::ldexp(static_cast<double>(row.i), static_cast<int>(below(200)) - 100);
    row.f = static_cast<float>(row.i) * 0x1p-20f;
    row.yes = below(2) == 0;
    row.s = text();
    row.t = Timestamp{Duration{static_cast<std::int64_t>(below(4'000'000'000'000'000))}};
    if (below(2) == 0) row.t = std::chrono::floor<std::chrono::milliseconds>(row.t);
    row.w = Duration{static_cast<std::int64_t>(below(1'000'000)) - 500'000};
    for (std::uint64_t n = below(4); n > 0; --n) {
      row.leaves.push_back({static_cast<std::int16_t>(bits()), std::nullopt});
      if (below(2) == 0) row.leaves.back().b = text();
    }
    if (below(2) == 0) row.bytes = std::vector<std::uint8_t>(below(5), 200);
    return row;
  }

  // The same row in one of its many notations: members shuffled, spaces, escapes, unknown members.
  std::string json_of(const Tree& row) {
    std::vector<std::string> members{
        member("i", std::to_string(row.i)),
        member("u", std::to_string(row.u)),
        member("d", number(row.d)),
        member("f", number(static_cast<double>(row.f))),
        member("yes", row.yes ? "true" : "false"),
        member("s", quoted(row.s)),
        member("t", time(row.t)),
        member("w", number(static_cast<double>(row.w.count()) / 1000)),
        member("leaves", list_of(row.leaves)),
        member("unknown", R"({"s":"}","a":[[1,-2.5e3],{}],"n":null})")};
    if (row.bytes || below(2) == 0) members.push_back(member("bytes", bytes_of(row.bytes)));
    std::shuffle(members.begin(), members.end(), random_);
    return object(members);
  }

 private:
  std::uint64_t bits() { return random_() >> below(64); }
  std::uint64_t below(std::uint64_t end) { return random_() % end; }
  std::string space() { return std::string(below(3), " \t\n"[below(3)]); }

  std::string text() {
    static const std::vector<std::string> kPieces{"a",  "é",    "😀", "\"", "\\",
                                                  "\n", "\x01", "/",  "{",  "0123456789abcdef"};
    std::string made;
    for (std::uint64_t n = below(8); n > 0; --n) made += kPieces[below(kPieces.size())];
    return made;
  }

  std::string quoted(const std::string& plain) {
    std::string made = "\"";
    for (const char c : plain) {
      char escaped[8];
      const bool ascii = static_cast<unsigned char>(c) < 0x80;
      if (c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20 ||
          (ascii && below(8) == 0)) {
        std::snprintf(escaped, sizeof escaped, "\\u%04X", static_cast<unsigned>(c));
        made += escaped;
      } else {
        made += c;
      }
    }
    return made + "\"";
  }

  std::string number(double value) {
    char made[40];
    std::snprintf(made, sizeof made, "%.17g", value);
    return made;
  }

  std::string time(Timestamp at) {
    const std::int64_t micros = at.time_since_epoch().count();
    char made[40];
    std::snprintf(made, sizeof made, "%lld.%03lld", static_cast<long long>(micros / 1000),
                  static_cast<long long>(micros % 1000));
    return made;
  }

  std::string list_of(const std::vector<Leaf>& leaves) {
    std::string made = "[";
    for (const Leaf& leaf : leaves) {
      std::vector<std::string> members{member("a", std::to_string(leaf.a))};
      if (leaf.b) members.push_back(member("b", quoted(*leaf.b)));
      made += (made.size() > 1 ? "," : "") + space() + object(members);
    }
    return made + space() + "]";
  }

  std::string bytes_of(const std::optional<std::vector<std::uint8_t>>& bytes) {
    if (!bytes) return "null";
    std::string made = "[";
    for (const std::uint8_t byte : *bytes) {
      made += (made.size() > 1 ? "," : "") + std::to_string(byte);
    }
    return made + "]";
  }

  std::string member(const std::string& name, const std::string& value) {
    return space() + quoted(name) + space() + ":" + space() + value + space();
  }

  std::string object(const std::vector<std::string>& members) {
    std::string made = space() + "{";
    for (const std::string& each : members) made += (each == members.front() ? "" : ",") + each;
    return made + "}" + space();
  }

  std::mt19937_64 random_;
};

std::uint64_t seed() {
  const char* given = std::getenv("LEVADA_SEED");
  return given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
}

class JsonRoundTrip : public ::testing::Test {
 protected:
  void SetUp() override { RecordProperty("seed", std::to_string(seed_)); }
  std::uint64_t seed_ = seed();
  Generator generator_{seed_};
  std::unique_ptr<RecordParser> parser_ = json().make_parser(type_info<Tree>());
  std::unique_ptr<RecordWriter> writer_ = json().make_writer(type_info<Tree>());
};

TEST_F(JsonRoundTrip, ReadsWhatAnotherWriterWrote) {
  Tree old;
  for (int i = 0; i < 5000; ++i) {
    const Tree row = generator_.tree();
    const std::string text = generator_.json_of(row);
    ASSERT_TRUE(parser_->parse(text, &old))
        << "LEVADA_SEED=" << seed_ << ' ' << text << ": " << parser_->problem();
    ASSERT_EQ(old, row) << "LEVADA_SEED=" << seed_ << ' ' << text;
  }
}

TEST_F(JsonRoundTrip, ReadsWhatItWrote) {
  Tree old;
  Bytes text;
  for (int i = 0; i < 5000; ++i) {
    const Tree row = generator_.tree();
    text.clear();
    writer_->write(&row, text);
    ASSERT_TRUE(parser_->parse(text, &old))
        << "LEVADA_SEED=" << seed_ << ' ' << text << ": " << parser_->problem();
    ASSERT_EQ(old, row) << "LEVADA_SEED=" << seed_ << ' ' << text;
  }
}

TEST_F(JsonRoundTrip, SurvivesAnyFlippedByte) {
  Tree old;
  std::mt19937_64 random(seed_);
  int refused = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string text = generator_.json_of(generator_.tree());
    for (std::uint64_t n = 1 + random() % 3; n > 0; --n) {
      text[random() % text.size()] = static_cast<char>(random());
    }
    if (!parser_->parse(text, &old)) {
      ++refused;
      ASSERT_FALSE(parser_->problem().empty()) << "LEVADA_SEED=" << seed_ << ' ' << text;
    }
  }
  EXPECT_GT(refused, 5'000) << "LEVADA_SEED=" << seed_;
}

TEST(JsonWriter, WritesTheNotationThatItsHeaderTells) {
  Tree row{.i = -1,
           .u = 2,
           .d = 0.5,
           .f = 0.25f,
           .yes = true,
           .s = "a\"\n",
           .t = Timestamp{5ms},
           .w = -1us,
           .leaves = {{7, "x"}, {8, std::nullopt}},
           .bytes = std::nullopt};
  Bytes text;
  json().make_writer(type_info<Tree>())->write(&row, text);
  EXPECT_EQ(text, R"({"i":-1,"u":2,"d":0.5,"f":0.25,"yes":true,"s":"a\"\u000a","t":5,"w":-0.001,)"
                  R"("leaves":[{"a":7,"b":"x"},{"a":8}]})");
  row.t = Timestamp{1us};
  row.d = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THROW(json().make_writer(type_info<Tree>())->write(&row, text), FormatError);
}

}  // namespace
}  // namespace levada
