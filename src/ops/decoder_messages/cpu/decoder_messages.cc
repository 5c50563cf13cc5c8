// What a library writes to stderr in the calling thread while an image is decoded.
//
// libjpeg decodes damaged files and says so only by a line on stderr, without the file's name. Between `begin` and `end`
// the C library's `stderr` is a stream that keeps what the thread between them writes, and passes on the rest at once.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <string>

namespace {

constexpr size_t kMostBytes = 4096;

thread_local bool collects = false;
thread_local std::string collected;

std::mutex mutex;
int users = 0;
FILE* original = nullptr;
FILE* watched = nullptr;

ssize_t write_part(void*, const char* data, size_t size) {
  if (!collects) return write(STDERR_FILENO, data, size);
  collected.append(data, std::min(size, kMostBytes - std::min(kMostBytes, collected.size())));
  return static_cast<ssize_t>(size);
}

FILE* make_stream() {
  cookie_io_functions_t functions{};
  functions.write = write_part;
  FILE* stream = fopencookie(nullptr, "w", functions);
  if (stream != nullptr) setvbuf(stream, nullptr, _IONBF, 0);
  return stream;
}

}  // namespace

extern "C" {

// Starts to collect; `end` must follow in the same thread.
void decoder_messages_begin() {
  collected.clear();
  collects = true;
  const std::lock_guard<std::mutex> lock(mutex);
  if (watched == nullptr) watched = make_stream();
  if (users++ == 0 && watched != nullptr) {
    original = stderr;
    stderr = watched;
  }
}

// Stops, and copies the text, at most size - 1 bytes and a NUL, to `text`; returns its length.
int decoder_messages_end(char* text, int size) {
  collects = false;
  {
    const std::lock_guard<std::mutex> lock(mutex);
    if (--users == 0 && original != nullptr) stderr = original;
  }
  const size_t length = std::min(collected.size(), static_cast<size_t>(size - 1));
  std::memcpy(text, collected.data(), length);
  text[length] = '\0';
  return static_cast<int>(length);
}
}
