#include "result_files.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "user_error.h"

namespace fs = std::filesystem;

namespace {

constexpr const char *kResults = "result_Files", *kTimes = "time_Result";

// Writes beside the file first, so that an interrupted run leaves no part of one.
void write_whole(const fs::path &path, const void *data, size_t bytes) {
  const fs::path temporary = path.string() + ".part";
  std::ofstream file(temporary, std::ios::binary);
  file.write(static_cast<const char *>(data), static_cast<std::streamsize>(bytes));
  file.close();
  if (!file) throw UserError(path.string() + ": cannot be written (" + std::strerror(errno) + ")");
  fs::rename(temporary, path);
}

bool is_result(const fs::path &path) {
  const std::string name = path.filename().string();
  for (const std::string ending : {"_0.bin", "_1.bin", "_2.bin", "_3.bin", "_4.bin", ".bin.part"}) {
    if (name.size() > ending.size() && name.compare(name.size() - ending.size(), ending.size(), ending) == 0) {
      return true;
    }
  }
  return false;
}

}  // namespace

void prepare_folders(const fs::path &output_path, size_t images, size_t bytes_per_image) {
  try {
    fs::create_directories(output_path / kResults);
    fs::create_directories(output_path / kTimes);
    std::vector<fs::path> earlier;
    for (const fs::directory_entry &entry : fs::directory_iterator(output_path / kResults)) {
      if (is_result(entry.path())) earlier.push_back(entry.path());
    }
    for (const fs::path &path : earlier) fs::remove(path);
  } catch (const fs::filesystem_error &error) {
    throw UserError(error.path1().string() + ": " + error.code().message());
  }
  const size_t available = fs::space(output_path).available, needed = images * bytes_per_image;
  constexpr size_t kMegabyte = 1 << 20;
  if (needed > available) {
    throw UserError(output_path.string() + ": the results of " + std::to_string(images) + " images take " +
                    std::to_string(needed / kMegabyte) + " MB, the disk has " + std::to_string(available / kMegabyte) +
                    " MB free; give --output_path on another");
  }
}

void write_results(const fs::path &output_path, const std::string &stem, const std::vector<Tensor> &outputs) {
  for (size_t k = 0; k < outputs.size(); k++) {
    write_whole(output_path / kResults / (stem + "_" + std::to_string(k) + ".bin"), outputs[k].data.get(),
                outputs[k].bytes);
  }
}

std::string write_times(const fs::path &output_path, double total_milliseconds, size_t images) {
  std::ostringstream line;
  line << "NN inference cost average time: " << total_milliseconds / static_cast<double>(images)
       << " ms of infer_count " << images << "\n";
  const std::string text = line.str();
  write_whole(output_path / kTimes / "test_perform_static.txt", text.data(), text.size());
  return text;
}
