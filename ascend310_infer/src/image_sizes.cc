#include "image_sizes.h"

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "user_error.h"

using nlohmann::json;

std::map<std::string, ImageSize> read_image_sizes(const std::string &anno_path) {
  // Of the outermost object only the images are kept: annotations may take gigabytes once they are parsed.
  bool skip = false;
  const auto keep = [&skip](int depth, json::parse_event_t event, const json &value) {
    if (depth == 1 && event == json::parse_event_t::key) skip = value != "images";
    return !skip || depth == 0;
  };
  std::map<std::string, ImageSize> sizes;
  try {
    std::ifstream file(anno_path);
    const json content = json::parse(file, keep);
    for (const json &image : content.at("images")) {
      const std::filesystem::path name = image.at("file_name").get<std::string>();
      sizes[name.filename().string()] = {image.at("height"), image.at("width")};
    }
  } catch (const json::exception &error) {
    throw UserError(anno_path + ": not a COCO annotation file, whose 'images' have file_name, height and width (" +
                    error.what() + ")");
  }
  return sizes;
}
