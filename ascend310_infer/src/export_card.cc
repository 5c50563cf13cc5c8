#include "export_card.h"

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "user_error.h"

using nlohmann::json;

namespace {

using Shape = std::vector<int64_t>;

// The shape of the inputs or outputs, the batch apart.
std::vector<Shape> shapes_of(const json &ports) {
  std::vector<Shape> shapes;
  for (const json &port : ports) {
    const Shape shape = port.at("shape");
    shapes.emplace_back(shape.begin() + (shape.empty() ? 0 : 1), shape.end());
  }
  return shapes;
}

ExportCard card_of(const json &content, const std::string &path) {
  if (content.at("form") != "raw") {
    throw UserError(path + ": the network gives " + content.at("form").get<std::string>() +
                    "; this program runs the raw form, which gives boxes and scores");
  }
  const json &from = content.at("preprocessing");
  ExportCard card;
  card.preprocessing.target = {from.at("img_height"), from.at("img_width")};
  card.preprocessing.input = {from.at("input_height"), from.at("input_width")};
  card.preprocessing.keep_ratio = from.at("keep_ratio");
  card.preprocessing.to_rgb = from.at("to_rgb");
  card.preprocessing.mean = from.at("img_mean");
  card.preprocessing.deviation = from.at("img_std");
  card.classes = static_cast<int64_t>(content.at("class_names").size());
  const std::vector<Shape> inputs = shapes_of(content.at("inputs")), outputs = shapes_of(content.at("outputs"));
  const Shape image = {3, card.preprocessing.input.height, card.preprocessing.input.width};
  if (inputs != std::vector<Shape>{image}) throw UserError(path + ": the network takes more than an image");
  card.anchors = outputs.empty() || outputs[0].empty() ? 0 : outputs[0][0];
  if (outputs != std::vector<Shape>{{card.anchors, 4}, {card.anchors, card.classes}}) {
    throw UserError(path + ": the network's outputs are not boxes [N, 4] and scores [N, " +
                    std::to_string(card.classes) + "]");
  }
  return card;
}

// a.json of a.mindir; a.onnx.json of an a.mindir that was converted from a.onnx, where it has none of its own.
std::string card_path(const std::string &mindir_path) {
  namespace fs = std::filesystem;
  const fs::path own = fs::path(mindir_path).replace_extension(".json");
  const fs::path source = fs::path(mindir_path).replace_extension(".onnx.json");
  return (!fs::exists(own) && fs::exists(source) ? source : own).string();
}

}  // namespace

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
