#include "export_card.h"

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "user_error.h"

using nlohmann::json;

namespace {

using Shape = std::vector<int64_t>;

const std::map<std::string, Type> kTypes = {
    {"float32", Type::kFloat32}, {"int32", Type::kInt32}, {"bool", Type::kBool}};

// The shape of an input or output, the batch apart.
Shape shape_of(const json &port) {
  const Shape shape = port.at("shape");
  return {shape.begin() + (shape.empty() ? 0 : 1), shape.end()};
}

bool takes_info(const json &inputs, const Shape &image, const std::string &path) {
  std::vector<Shape> shapes;
  for (const json &input : inputs) shapes.push_back(shape_of(input));
  const bool info = shapes.size() == 2;
  if (shapes != (info ? std::vector<Shape>{image, {6}} : std::vector<Shape>{image})) {
    throw UserError(path + ": the network takes something else than an image and image_info [6]");
  }
  return info;
}

// The outputs of the form that the card names.
std::vector<Output> outputs_of(const json &content, int64_t classes, const std::string &path) {
  std::vector<Output> outputs;
  std::vector<std::string> names;
  std::vector<Shape> shapes;
  for (const json &port : content.at("outputs")) {
    const auto type = kTypes.find(port.at("dtype"));
    if (type == kTypes.end()) throw UserError(path + ": an output has another type than float32, int32 or bool");
    names.push_back(port.at("name"));
    shapes.push_back(shape_of(port));
    outputs.push_back({type->second, shapes.back()});
  }
  const int64_t rows = shapes.empty() || shapes[0].empty() ? 0 : shapes[0][0];
  if (content.at("form") == "raw") {
    if (shapes != std::vector<Shape>{{rows, 4}, {rows, classes}}) {
      throw UserError(path + ": the network's outputs are not boxes [N, 4] and scores [N, " + std::to_string(classes) +
                      "]");
    }
    return outputs;
  }
  std::vector<std::string> expected_names = {"boxes", "scores", "labels", "valid"};
  std::vector<Shape> expected = {{rows, 4}, {rows}, {rows}, {rows}};
  if (shapes.size() == 5 && shapes[4].size() == 3) {
    expected_names.push_back("masks");
    expected.push_back({rows, shapes[4][1], shapes[4][2]});
  }
  if (names != expected_names || shapes != expected) {
    throw UserError(path + ": the network's outputs are not boxes [M, 4], scores, labels, valid [M] and, if any, masks "
                           "[M, S, S]");
  }
  return outputs;
}

ExportCard card_of(const json &content, const std::string &path) {
  const json &from = content.at("preprocessing");
  ExportCard card;
  card.preprocessing.target = {from.at("img_height"), from.at("img_width")};
  card.preprocessing.input = {from.at("input_height"), from.at("input_width")};
  card.preprocessing.keep_ratio = from.at("keep_ratio");
  card.preprocessing.to_rgb = from.at("to_rgb");
  card.preprocessing.mean = from.at("img_mean");
  card.preprocessing.deviation = from.at("img_std");
  card.classes = static_cast<int64_t>(content.at("class_names").size());
  const Shape image = {3, card.preprocessing.input.height, card.preprocessing.input.width};
  card.takes_info = takes_info(content.at("inputs"), image, path);
  card.outputs = outputs_of(content, card.classes, path);
  return card;
}

// a.json of a.mindir, a.ms.json of a.ms; a.onnx.json where these were converted from a.onnx and have none of their own.
std::string card_path(const std::string &mindir_path) {
  namespace fs = std::filesystem;
  const bool is_ms = fs::path(mindir_path).extension() == ".ms";
  const fs::path own = fs::path(mindir_path).replace_extension(is_ms ? ".ms.json" : ".json");
  const fs::path source = fs::path(mindir_path).replace_extension(".onnx.json");
  return (!fs::exists(own) && fs::exists(source) ? source : own).string();
}

}  // namespace

size_t Output::count() const {
  size_t values = 1;
  for (int64_t side : shape) values *= static_cast<size_t>(side);
  return values;
}

size_t ExportCard::result_bytes() const {
  size_t bytes = 0;
  for (const Output &output : outputs) bytes += output.bytes();
  return bytes;
}

ExportCard read_export_card(const std::string &mindir_path) {
  const std::string path = card_path(mindir_path);
  std::ifstream file(path);
  if (!file) throw UserError(path + ": missing; export.py writes it beside the network, and both must be copied");
  try {
    return card_of(json::parse(file), path);
  } catch (const json::exception &error) {
    throw UserError(path + ": not the description of an exported network (" + error.what() + ")");
  }
}
