// Predicts the images of a folder with an exported network; see arguments.cc for the usage.
#include <iostream>

#include "arguments.h"
#include "export_card.h"
#include "predictor.h"
#include "run.h"
#include "user_error.h"

int main(int argc, char **argv) {
  try {
    const Arguments arguments = parse_arguments({argv + 1, argv + argc});
    if (arguments.help) {
      std::cout << kUsage;
      return 0;
    }
    const ExportCard card = read_export_card(arguments.mindir_path);
    const auto predictor = make_predictor(card, arguments);
    run(arguments, card, *predictor);
    return 0;
  } catch (const UserError &error) {
    std::cerr << "error: " << error.what() << std::endl;
    return 2;
  } catch (const std::exception &error) {
    std::cerr << "error: " << error.what() << std::endl;
    return 1;
  }
}
