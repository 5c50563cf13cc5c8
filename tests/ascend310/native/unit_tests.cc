// The parts of the Ascend 310 program that are hard to reach from its command line.
#include <filesystem>
#include <fstream>
#include <iterator>

#include "arguments.h"
#include "check.h"
#include "network_input.h"
#include "result_files.h"
#include "user_error.h"

namespace fs = std::filesystem;

namespace {

const fs::path kFolder = fs::temp_directory_path() / ("ascend310_unit_tests_" + std::to_string(std::rand()));

Tensor tensor(size_t count, float first) {
  const auto values = std::make_shared<std::vector<float>>(count);
  for (size_t i = 0; i < count; i++) (*values)[i] = first + static_cast<float>(i);
  return {std::shared_ptr<const void>(values, values->data()), count * sizeof(float)};
}

std::vector<float> floats_of(const fs::path &path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes(std::istreambuf_iterator<char>(file), {});
  const auto *values = reinterpret_cast<const float *>(bytes.data());
  return {values, values + bytes.size() / sizeof(float)};
}

void test_resized_size() {
  const auto equals = [](ImageSize size, int height, int width) { return size.height == height && size.width == width; };
  CHECK(equals(resized_size({480, 640}, {640, 640}, true), 480, 640));
  CHECK(equals(resized_size({427, 640}, {800, 1333}, true), 800, 1199));
  CHECK(equals(resized_size({1, 1000}, {64, 64}, true), 1, 64));
  CHECK(equals(resized_size({30, 20}, {64, 48}, false), 64, 48));
}

void test_image_info() {
  Preprocessing preprocessing{};
  preprocessing.target = {800, 1333};
  preprocessing.keep_ratio = true;
  const auto info = image_info({427, 640}, preprocessing);
  CHECK((info == std::array<float, 6>{427, 640, 800, 1199, 800.0f / 427.0f, 1199.0f / 640.0f}));
}

void test_arguments() {
  const std::string file = (kFolder / "a.mindir").string(), folder = kFolder.string();
  std::ofstream(file) << "x";
  const Arguments both = parse_arguments({"--mindir_path", file, "--dataset_path=" + folder, "--device_id", "3"});
  CHECK(both.mindir_path == file && both.dataset_path == folder && both.device_id == 3 && both.output_path == ".");
  CHECK(both.device == "Ascend" && both.threads == 0);
  const Arguments cpu =
      parse_arguments({"--mindir_path", file, "--dataset_path", folder, "--device", "CPU", "--threads=2"});
  CHECK(cpu.device == "CPU" && cpu.threads == 2);
  CHECK(parse_arguments({"--mindir_path", "x", "--help"}).help);
  const auto says = [](const std::vector<std::string> &words) {
    return message_of<UserError>([&] { parse_arguments(words); });
  };
  CHECK(contains(says({"--mindir_pat", "x"}), "'--mindir_pat' is no argument"));
  CHECK(contains(says({"mindir_path", "x"}), "'mindir_path' is no argument"));
  CHECK(contains(says({"--device_id"}), "--device_id: its value is missing"));
  CHECK(contains(says({"--device", "GPU"}), "--device: must be Ascend or CPU, not 'GPU'"));
  for (const std::string wrong : {"-1", "1.5", "two", "", "99999999999"}) {
    CHECK(contains(says({"--device_id=" + wrong}), "whole number of at least 0, not '" + wrong + "'"));
  }
  CHECK(contains(says({}), "--mindir_path is missing"));
  CHECK(contains(says({"--mindir_path", file}), "--dataset_path is missing"));
  CHECK(contains(says({"--mindir_path", "none", "--dataset_path", folder}), "no such file: none"));
  CHECK(contains(says({"--mindir_path", file, "--dataset_path", "none"}), "no such folder: none"));
  CHECK(contains(says({"--mindir_path", file, "--dataset_path", folder, "--anno_path", "no"}), "no such file: no"));
}

void test_result_files() {
  const fs::path out = kFolder / "out";
  prepare_folders(out, 1, 100);
  write_results(out, "a.b", {tensor(20, 1), tensor(15, 100)});
  CHECK(floats_of(out / "result_Files/a.b_0.bin").size() == 20 && floats_of(out / "result_Files/a.b_0.bin")[19] == 20);
  CHECK(floats_of(out / "result_Files/a.b_1.bin").size() == 15 && floats_of(out / "result_Files/a.b_1.bin")[0] == 100);
  CHECK(std::distance(fs::directory_iterator(out / "result_Files"), {}) == 2);
  CHECK(write_times(out, 30, 4) == "NN inference cost average time: 7.5 ms of infer_count 4\n");

  write_results(out, "five", std::vector<Tensor>(5, tensor(1, 0)));
  CHECK(fs::exists(out / "result_Files/five_4.bin"));
  std::ofstream(out / "result_Files/notes.txt") << "mine";
  prepare_folders(out, 1, 100);
  CHECK(!fs::exists(out / "result_Files/five_2.bin") && !fs::exists(out / "result_Files/five_4.bin"));
  CHECK(!fs::exists(out / "result_Files/a.b_0.bin") && !fs::exists(out / "result_Files/a.b_1.bin"));
  CHECK(fs::exists(out / "result_Files/notes.txt"));

  const auto full = message_of<UserError>([&] { prepare_folders(out, 5000, size_t{1} << 40); });
  CHECK(contains(full, "the results of 5000 images take") && contains(full, "MB free"));
  std::ofstream(kFolder / "file") << "x";
  CHECK(contains(message_of<UserError>([&] { prepare_folders(kFolder / "file", 1, 1); }), "file"));
  fs::remove_all(out / "result_Files");
  const auto gone = message_of<UserError>([&] { write_results(out, "a", {tensor(4, 0), tensor(1, 0)}); });
  CHECK(contains(gone, "a_0.bin: cannot be written (No such file or directory)"));
}

}  // namespace

int main() {
  fs::create_directories(kFolder);
  test_resized_size();
  test_image_info();
  test_arguments();
  test_result_files();
  fs::remove_all(kFolder);
  return failures == 0 ? 0 : 1;
}
