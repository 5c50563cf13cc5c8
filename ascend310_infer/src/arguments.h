// The command line.
#pragma once

#include <string>
#include <vector>

struct Arguments {
  std::string mindir_path;
  std::string dataset_path;
  std::string anno_path;  // "": the sizes of images are not checked
  std::string output_path = ".";
  unsigned device_id = 0;
  bool help = false;
};

// What --help prints.
extern const char *const kUsage;

// Reads `--name value` and `--name=value`. UserError: an unknown name, a missing value or path, a device_id that is no
// number.
Arguments parse_arguments(const std::vector<std::string> &words);
