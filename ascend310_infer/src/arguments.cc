#include "arguments.h"

#include <filesystem>
#include <functional>
#include <map>

#include "user_error.h"

namespace fs = std::filesystem;

const char *const kUsage =
    "usage: main --mindir_path FILE --dataset_path FOLDER [--anno_path FILE] [--device Ascend|CPU]\n"
    "            [--device_id N] [--threads N] [--output_path FOLDER]\n"
    "\n"
    "Predicts all images (png, jpg, jpeg, bmp, webp) in a folder and the folders below it.\n"
    "\n"
    "  --mindir_path FILE     network that export.py wrote or Lite converted, with its .json beside it\n"
    "  --dataset_path FOLDER  images\n"
    "  --anno_path FILE       COCO annotations: images must have the size they say, with or without EXIF's rotation\n"
    "  --device NAME          Ascend (default) or CPU\n"
    "  --device_id N          chip to run on (default: 0)\n"
    "  --threads N            of the CPU (default: 0, as many as it has cores)\n"
    "  --output_path FOLDER   where result_Files/ and time_Result/ are written (default: here)\n";

namespace {

unsigned number_of(const std::string &name, const std::string &text) {
  if (text.empty() || text.size() > 9 || text.find_first_not_of("0123456789") != std::string::npos) {
    throw UserError("--" + name + ": must be a whole number of at least 0, not '" + text + "'");
  }
  return static_cast<unsigned>(std::stoul(text));
}

std::string device_of(const std::string &text) {
  if (text != "Ascend" && text != "CPU") throw UserError("--device: must be Ascend or CPU, not '" + text + "'");
  return text;
}

void check_paths(const Arguments &arguments) {
  if (arguments.mindir_path.empty()) throw UserError("--mindir_path is missing: the exported network (.mindir, .ms)");
  if (arguments.dataset_path.empty()) throw UserError("--dataset_path is missing: the folder of images");
  if (!fs::is_regular_file(arguments.mindir_path)) {
    throw UserError("--mindir_path: no such file: " + arguments.mindir_path);
  }
  if (!fs::is_directory(arguments.dataset_path)) {
    throw UserError("--dataset_path: no such folder: " + arguments.dataset_path);
  }
  if (!arguments.anno_path.empty() && !fs::is_regular_file(arguments.anno_path)) {
    throw UserError("--anno_path: no such file: " + arguments.anno_path);
  }
}

}  // namespace

Arguments parse_arguments(const std::vector<std::string> &words) {
  Arguments arguments;
  const std::map<std::string, std::function<void(const std::string &)>> setters = {
      {"mindir_path", [&](const std::string &value) { arguments.mindir_path = value; }},
      {"dataset_path", [&](const std::string &value) { arguments.dataset_path = value; }},
      {"anno_path", [&](const std::string &value) { arguments.anno_path = value; }},
      {"output_path", [&](const std::string &value) { arguments.output_path = value; }},
      {"device", [&](const std::string &value) { arguments.device = device_of(value); }},
      {"threads", [&](const std::string &value) { arguments.threads = number_of("threads", value); }},
      {"device_id", [&](const std::string &value) { arguments.device_id = number_of("device_id", value); }},
  };
  for (size_t i = 0; i < words.size(); i++) {
    const std::string &word = words[i];
    if (word == "-h" || word == "--help") {
      arguments.help = true;
      return arguments;
    }
    const size_t equals = word.find('=');
    const std::string name = word.substr(0, equals);
    const auto setter = name.rfind("--", 0) == 0 ? setters.find(name.substr(2)) : setters.end();
    if (setter == setters.end()) throw UserError("'" + word + "' is no argument; --help lists them");
    if (equals != std::string::npos) {
      setter->second(word.substr(equals + 1));
    } else if (i + 1 < words.size()) {
      setter->second(words[++i]);
    } else {
      throw UserError(name + ": its value is missing");
    }
  }
  check_paths(arguments);
  return arguments;
}
