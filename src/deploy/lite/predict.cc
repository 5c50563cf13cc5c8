// Runs a network by MindSpore Lite on the CPU, for Python: predict NET.mindir THREADS, or NET.ms.
//
// It says "ready" once the network is built. A request on the standard input is, for each input of the network, a line
// with its sides, such as "1 3 64 64", and its float32 values. The answer on the standard output is a line with the
// number of outputs, and for each a line with its type and sides, such as "float32 1 100 4", and its values.
#include <include/api/context.h>
#include <include/api/model.h>
#include <include/api/status.h>
#include <include/api/types.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

using Shape = std::vector<int64_t>;

void require(const mindspore::Status &status, const std::string &what) {
  if (status != mindspore::kSuccess) throw std::runtime_error(what + " (" + status.ToString() + ")");
}

std::string name_of(mindspore::DataType type) {
  switch (type) {
    case mindspore::DataType::kNumberTypeFloat32: return "float32";
    case mindspore::DataType::kNumberTypeInt32: return "int32";
    case mindspore::DataType::kNumberTypeInt64: return "int64";
    case mindspore::DataType::kNumberTypeBool: return "bool";
    default: throw std::runtime_error("an output has type " + std::to_string(static_cast<int>(type)));
  }
}

// The next line; false at the end of the input.
bool read_line(std::string *line) {
  line->clear();
  for (int letter = std::getchar(); letter != '\n'; letter = std::getchar()) {
    if (letter == EOF) return false;
    line->push_back(static_cast<char>(letter));
  }
  return true;
}

// Whether a network takes [B, H, W, 3] where [B, 3, H, W] is given: Lite's converter writes .ms files so by default.
bool has_channels_last(const Shape &taken, const Shape &given) {
  return taken.size() == 4 && given.size() == 4 && given[1] == 3 && taken[1] != 3 && taken[3] == 3;
}

void put_channels_last(std::vector<float> *values, Shape *shape) {
  const int64_t batch = (*shape)[0], channels = (*shape)[1], pixels = (*shape)[2] * (*shape)[3];
  std::vector<float> moved(values->size());
  for (int64_t b = 0; b < batch; b++) {
    for (int64_t c = 0; c < channels; c++) {
      const float *plane = values->data() + (b * channels + c) * pixels;
      for (int64_t p = 0; p < pixels; p++) moved[(b * pixels + p) * channels + c] = plane[p];
    }
  }
  *values = std::move(moved);
  *shape = {batch, (*shape)[2], (*shape)[3], channels};
}

class Network {
 public:
  Network(const std::string &path, int threads) {
    const auto context = std::make_shared<mindspore::Context>();
    context->SetThreadNum(threads);
    context->MutableDeviceInfo().push_back(std::make_shared<mindspore::CPUDeviceInfo>());
    const bool is_ms = std::filesystem::path(path).extension() == ".ms";
    const mindspore::ModelType type = is_ms ? mindspore::kMindIR_Lite : mindspore::kMindIR;
    require(model_.Build(path, type, context), "the network cannot be built");
    inputs_ = model_.GetInputs();
  }

  // Reads a request; false where there is none.
  bool read() {
    std::vector<Shape> shapes;
    std::vector<std::vector<float>> values;
    std::string line;
    for (size_t i = 0; i < inputs_.size(); i++) {
      if (!read_line(&line)) return false;
      std::istringstream sides(line);
      Shape shape;
      size_t count = 1;
      for (int64_t side; sides >> side; count *= static_cast<size_t>(side)) shape.push_back(side);
      values.emplace_back(count);
      if (std::fread(values[i].data(), sizeof(float), count, stdin) != count) return false;
      if (has_channels_last(inputs_[i].Shape(), shape)) put_channels_last(&values[i], &shape);
      shapes.push_back(shape);
    }
    resize(shapes);
    for (size_t i = 0; i < inputs_.size(); i++) {
      const size_t bytes = values[i].size() * sizeof(float);
      if (inputs_[i].DataType() != mindspore::DataType::kNumberTypeFloat32 || inputs_[i].DataSize() != bytes) {
        throw std::runtime_error("input " + inputs_[i].Name() + " takes other values");
      }
      std::copy(values[i].begin(), values[i].end(), static_cast<float *>(inputs_[i].MutableData()));
    }
    return true;
  }

  void answer(FILE *out) {
    std::vector<mindspore::MSTensor> outputs;
    require(model_.Predict(inputs_, &outputs), "the prediction failed");
    std::fprintf(out, "%zu\n", outputs.size());
    for (const mindspore::MSTensor &output : outputs) {
      std::string line = name_of(output.DataType());
      for (int64_t side : output.Shape()) line += " " + std::to_string(side);
      std::fprintf(out, "%s\n", line.c_str());
      std::fwrite(output.Data().get(), 1, output.DataSize(), out);
    }
    std::fflush(out);
  }

 private:
  void resize(const std::vector<Shape> &shapes) {
    bool same = true;
    for (size_t i = 0; i < inputs_.size(); i++) same = same && inputs_[i].Shape() == shapes[i];
    if (same) return;
    require(model_.Resize(inputs_, shapes), "the network does not take inputs of these sizes");
    inputs_ = model_.GetInputs();
  }

  mindspore::Model model_;
  std::vector<mindspore::MSTensor> inputs_;
};

}  // namespace

int main(int count, char **words) {
  if (count != 3) return 2;
  FILE *out = fdopen(dup(STDOUT_FILENO), "wb");
  dup2(STDERR_FILENO, STDOUT_FILENO);  // Lite writes to the standard output, too
  try {
    Network network(words[1], std::stoi(words[2]));
    std::fputs("ready\n", out);
    std::fflush(out);
    while (network.read()) network.answer(out);
    return 0;
  } catch (const std::exception &error) {
    std::cerr << "error: " << error.what() << std::endl;
    return 1;
  }
}
