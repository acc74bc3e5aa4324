// Takes the process's own streams away, to see that nothing is printed.
//
// Threads: of the test; what any thread prints meanwhile is caught.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <string>

namespace levada::testing {

// While it lives, both descriptors lead to a file.
class OwnedDescriptors {
 public:
  explicit OwnedDescriptors(const std::string& path) : path_(path) {
    const int file = open(path.c_str(), O_CREAT | O_WRONLY | O_TRUNC, 0600);
    for (const int descriptor : {1, 2}) {
      saved_[descriptor - 1] = dup(descriptor);
      dup2(file, descriptor);
    }
    close(file);
  }
  ~OwnedDescriptors() { give_back(); }
  void give_back() {
    for (const int descriptor : {1, 2}) {
      if (saved_[descriptor - 1] < 0) continue;
      dup2(saved_[descriptor - 1], descriptor);
      close(saved_[descriptor - 1]);
      saved_[descriptor - 1] = -1;
    }
  }
  std::uintmax_t bytes() const { return std::filesystem::file_size(path_); }

 private:
  std::string path_;
  int saved_[2] = {-1, -1};
};

}  // namespace levada::testing
