// The sizes that annotations say images have.
#pragma once

#include <map>
#include <string>

struct ImageSize {
  int height, width;
};

// Sizes by the file names of a COCO annotation file, without their folders: as result files are named after them, no
// name may be there twice. UserError: not such a file.
std::map<std::string, ImageSize> read_image_sizes(const std::string &anno_path);
