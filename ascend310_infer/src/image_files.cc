#include "image_files.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <string>

#include "user_error.h"

namespace fs = std::filesystem;

namespace {

bool is_image(const fs::path &path) {
  static const std::array<const char *, 5> kSuffixes = {".png", ".jpg", ".jpeg", ".bmp", ".webp"};
  std::string suffix = path.extension().string();
  std::transform(suffix.begin(), suffix.end(), suffix.begin(), [](unsigned char c) { return std::tolower(c); });
  return std::find(kSuffixes.begin(), kSuffixes.end(), suffix) != kSuffixes.end();
}

bool is_hidden(const fs::path &path) { return path.filename().string().front() == '.'; }

void check_names(const std::vector<fs::path> &images) {
  std::map<fs::path, fs::path> first;
  for (const fs::path &image : images) {
    const auto [found, is_new] = first.emplace(image.stem(), image);
    if (!is_new) {
      throw UserError(image.string() + " and " + found->second.string() +
                      " would have the same result files; give one of them another name");
    }
  }
}

}  // namespace

std::vector<fs::path> find_images(const fs::path &folder) {
  std::vector<fs::path> images;
  try {
    for (auto entry = fs::recursive_directory_iterator(folder, fs::directory_options::follow_directory_symlink);
         entry != fs::recursive_directory_iterator(); ++entry) {
      if (is_hidden(entry->path())) {
        if (entry->is_directory()) entry.disable_recursion_pending();
      } else if (is_image(entry->path()) && entry->is_regular_file()) {
        images.push_back(entry->path());
      }
    }
  } catch (const fs::filesystem_error &error) {
    throw UserError(error.path1().string() + ": " + error.code().message());
  }
  if (images.empty()) throw UserError(folder.string() + ": no image (png, jpg, jpeg, bmp, webp) in this folder");
  std::sort(images.begin(), images.end());
  check_names(images);
  return images;
}
